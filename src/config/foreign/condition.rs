//! A condition of Gatus → what is expected of an answer. Its language: https://github.com/TwiN/gatus#conditions

use serde_json::{Value, json};

use crate::config::foreign::gatus::seconds;
use crate::config::foreign::{Taken, exactly};

/// Codes there are.
const CODES: (u16, u16) = (100, 599);
const DAY: f64 = 86_400.0;
/// From the longest, so that none is taken for a part of another.
const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

/// What the conditions of one endpoint come to.
#[derive(Default)]
pub struct Conditions {
    /// `None`: no condition speaks of the status.
    status: Option<Vec<(u16, u16)>>,
    contains: Vec<String>,
    contains_not: Vec<String>,
    matches: Vec<String>,
    json: Vec<Value>,
    latency_ms: Option<f64>,
    certificate_days: Option<f64>,
}

/// What stands on the right of a condition.
enum Wanted<'a> {
    Literal(&'a str),
    /// `pat(…)`, in which a star is any text.
    Pattern(&'a str),
    /// `any(…)`
    Any(Vec<&'a str>),
}

impl Conditions {
    /// Takes a condition in; `None` where it has no like.
    pub fn add(&mut self, condition: &str) -> Option<()> {
        let (left, operator, right) = parted(condition)?;
        if let Some(inner) = left.strip_prefix("has(").and_then(|rest| rest.strip_suffix(')')) {
            let exists = (operator == "==") == right.parse::<bool>().ok()?;
            self.json.push(json!({"path": json_path(inner.strip_prefix("[BODY]")?)?, "exists": exists}));
            return matches!(operator, "==" | "!=").then_some(());
        }
        match left {
            "[STATUS]" => self.status(operator, right),
            "[RESPONSE_TIME]" if matches!(operator, "<" | "<=") => {
                let most = right.parse::<f64>().ok()?;
                self.latency_ms = Some(self.latency_ms.map_or(most, |other| other.min(most)));
                Some(())
            }
            "[CERTIFICATE_EXPIRATION]" if matches!(operator, ">" | ">=") => {
                let least = (seconds(right)? / DAY).ceil();
                self.certificate_days = Some(self.certificate_days.map_or(least, |other| other.max(least)));
                Some(())
            }
            // Without a connection every check fails.
            "[CONNECTED]" => (operator == "==" && right == "true").then_some(()),
            "[BODY]" => self.body(operator, &Wanted::read(right)),
            _ => self.part(json_path(left.strip_prefix("[BODY]")?)?, operator, &Wanted::read(right)),
        }
    }

    fn status(&mut self, operator: &str, right: &str) -> Option<()> {
        let (least, most) = CODES;
        let wanted = Wanted::read(right);
        let codes: Vec<u16> = match &wanted {
            Wanted::Literal(code) => vec![code.parse().ok()?],
            Wanted::Any(codes) => codes.iter().map(|code| code.parse().ok()).collect::<Option<_>>()?,
            Wanted::Pattern(_) => return None,
        };
        let one = codes[0];
        let ranges: Vec<(u16, u16)> = match (operator, codes.len()) {
            ("==", _) => codes.iter().map(|code| (*code, *code)).collect(),
            ("!=", 1) => vec![(least, one.saturating_sub(1)), (one.saturating_add(1), most)],
            ("<", 1) => vec![(least, one.saturating_sub(1))],
            ("<=", 1) => vec![(least, one)],
            (">", 1) => vec![(one.saturating_add(1), most)],
            (">=", 1) => vec![(one, most)],
            _ => return None,
        };
        let known = self.status.take().unwrap_or_else(|| vec![CODES]);
        let both = |(from, to): (u16, u16)| ranges.iter().map(move |(first, last)| (from.max(*first), to.min(*last)));
        self.status = Some(known.into_iter().flat_map(both).filter(|(from, to)| from <= to).collect());
        Some(())
    }

    fn body(&mut self, operator: &str, wanted: &Wanted<'_>) -> Option<()> {
        match (operator, wanted) {
            ("==" | "!=", Wanted::Pattern(pattern)) if within(pattern).is_some() => {
                let list = if operator == "==" { &mut self.contains } else { &mut self.contains_not };
                list.extend(within(pattern).map(str::to_owned));
            }
            ("==", wanted) => self.matches.push(wanted.pattern()),
            _ => return None,
        }
        Some(())
    }

    /// A part of a body of JSON. Texts and numbers are the same to Gatus, so it is their text that is looked at.
    fn part(&mut self, path: String, operator: &str, wanted: &Wanted<'_>) -> Option<()> {
        let number = match wanted {
            Wanted::Literal(text) => text.parse::<f64>().ok(),
            _ => None,
        };
        self.json.push(match (operator, wanted, number) {
            ("==", wanted, _) => json!({"path": path, "matches": wanted.pattern()}),
            ("!=", Wanted::Literal(text), _) => json!({"path": path, "not_equals": scalar(text)}),
            ("<", _, Some(most)) => json!({"path": path, "less_than": most}),
            (">", _, Some(least)) => json!({"path": path, "greater_than": least}),
            _ => return None,
        });
        Some(())
    }

    /// Puts all of it into a service.
    pub fn into(self, taken: &mut Taken) {
        // Without a word on it any status passes there.
        let status = self.status.unwrap_or_else(|| vec![CODES]);
        let ranges = status.iter().map(|(from, to)| if from == to { json!(from) } else { json!(format!("{from}-{to}")) });
        taken.set("expect.status", ranges.collect::<Vec<_>>());
        for (path, texts) in
            [("expect.body_contains", self.contains), ("expect.body_not_contains", self.contains_not), ("expect.body_regex", self.matches)]
        {
            if !texts.is_empty() {
                taken.set(path, texts);
            }
        }
        if !self.json.is_empty() {
            taken.set("expect.json", self.json);
        }
        if let Some(most) = self.latency_ms {
            taken.set("expect.latency_ms", most);
        }
        if let Some(days) = self.certificate_days {
            taken.set("expect.certificate_days", days as u64);
        }
    }
}

impl Wanted<'_> {
    fn read(text: &str) -> Wanted<'_> {
        let called = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        match (called("pat"), called("any")) {
            (Some(pattern), _) => Wanted::Pattern(pattern),
            (_, Some(list)) => Wanted::Any(list.split(',').map(str::trim).collect()),
            _ => Wanted::Literal(text),
        }
    }

    /// As a regular expression.
    fn pattern(&self) -> String {
        match self {
            Wanted::Literal(text) => exactly(text),
            Wanted::Any(list) => format!("^(?:{})$", list.iter().map(|one| regex::escape(one)).collect::<Vec<_>>().join("|")),
            Wanted::Pattern(pattern) => {
                let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
                format!("(?s)^{}$", parts.join(".*"))
            }
        }
    }
}

/// `*text*` and nothing else
fn within(pattern: &str) -> Option<&str> {
    let inner = pattern.strip_prefix('*')?.strip_suffix('*')?;
    (!inner.is_empty() && !inner.contains('*')).then_some(inner)
}

fn scalar(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(|value: &Value| !value.is_object() && !value.is_array()).unwrap_or_else(|| text.into())
}

/// Both sides and the operator between them, which has spaces round it.
fn parted(condition: &str) -> Option<(&str, &'static str, &str)> {
    OPERATORS.into_iter().find_map(|operator| {
        let (left, right) = condition.split_once(&format!(" {operator} "))?;
        Some((left.trim(), operator, right.trim()))
    })
}

/// `.a.b[0]`, `[0].my-name` → `$.a.b[0]`, `$[0]['my-name']`
pub fn json_path(rest: &str) -> Option<String> {
    let mut path = "$".to_owned();
    for part in rest.split('.') {
        let (name, places) = part.split_at(part.find('[').unwrap_or(part.len()));
        let plain =
            name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
        match (name.is_empty(), plain) {
            (true, _) => {}
            (false, true) => path.push_str(&format!(".{name}")),
            (false, false) if name.contains(['\'', '\\', '"', ' ', '(', ')', '$']) => return None,
            (false, false) => path.push_str(&format!("['{name}']")),
        }
        let digits = |place: &str| !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
        if !places.is_empty() && !places.trim_start_matches('[').trim_end_matches(']').split("][").all(digits) {
            return None;
        }
        path.push_str(places);
    }
    (path.len() > 1).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expectations(conditions: &[&str]) -> Value {
        let mut all = Conditions::default();
        conditions.iter().for_each(|condition| all.add(condition).unwrap_or_else(|| panic!("{condition}")));
        let mut taken = Taken::default();
        all.into(&mut taken);
        taken.service.remove("expect").expect("there are some")
    }

    #[test]
    fn statuses_are_what_all_conditions_leave() {
        for (conditions, status) in [
            (&["[STATUS] == 200"][..], json!([200])),
            (&["[STATUS] >= 200", "[STATUS] < 300"], json!(["200-299"])),
            (&["[STATUS] <= 404", "[STATUS] != 200"], json!(["100-199", "201-404"])),
            (&["[STATUS] == any(200, 429)"], json!([200, 429])),
            (&["[CONNECTED] == true"], json!(["100-599"])),
            (&["[STATUS] > 599"], json!([])),
        ] {
            assert_eq!(expectations(conditions)["status"], status, "{conditions:?}");
        }
    }

    #[test]
    fn bodies_times_and_certificates_are_taken_over() {
        let all = expectations(&[
            "[STATUS] == 200",
            "[RESPONSE_TIME] < 500",
            "[RESPONSE_TIME] <= 300",
            "[CERTIFICATE_EXPIRATION] > 48h",
            "[BODY] == pat(*<h1>Hello*)",
            "[BODY] != pat(*error*)",
            "[BODY] == pat(*<b>*</b>*)",
            "[BODY] == any(ok, fine)",
            "[BODY].status == UP",
            "[BODY].data[0].my-id == 7",
            "[BODY].name == pat(john*)",
            "[BODY].age > 17",
            "[BODY].age < 99",
            "[BODY].state != null",
            "has([BODY].errors) == false",
            "has([BODY].data) == true",
        ]);
        assert_eq!(
            all,
            json!({
                "status": [200],
                "body_contains": ["<h1>Hello"],
                "body_not_contains": ["error"],
                "body_regex": ["(?s)^.*<b>.*</b>.*$", "^(?:ok|fine)$"],
                "json": [
                    {"path": "$.status", "matches": "^UP$"},
                    {"path": "$.data[0]['my-id']", "matches": "^7$"},
                    {"path": "$.name", "matches": "(?s)^john.*$"},
                    {"path": "$.age", "greater_than": 17.0},
                    {"path": "$.age", "less_than": 99.0},
                    {"path": "$.state", "not_equals": null},
                    {"path": "$.errors", "exists": false},
                    {"path": "$.data", "exists": true},
                ],
                "latency_ms": 300.0,
                "certificate_days": 2,
            })
        );
    }

    #[test]
    fn what_has_no_like_is_refused() {
        for condition in [
            "",
            "[STATUS]",
            "[STATUS] == ok",
            "[STATUS] < any(1, 2)",
            "[RESPONSE_TIME] > 5",
            "[IP] == 127.0.0.1",
            "[DNS_RCODE] == NOERROR",
            "[DOMAIN_EXPIRATION] > 720h",
            "len([BODY].data) < 5",
            "[BODY].age >= 17",
            "[BODY][x] == 1",
            "[BODY] != ok",
            "[CONNECTED] == false",
            "has([IP]) == true",
        ] {
            assert_eq!(Conditions::default().add(condition), None, "{condition}");
        }
    }
}
