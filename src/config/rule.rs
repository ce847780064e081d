//! An alert rule as people write it: the body of an API request and the record in the store. `check` turns it into the `Rule` that
//! is planned by, or names every mistake in it.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Weekday;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::misfit::{Reading, object, wrong_kind};
use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;
use crate::model::alert::CauseKind;
use crate::model::id::{ChannelId, ServiceId};
use crate::model::incident::Severity;
use crate::model::rule::{Escalation, Quiet, Rule, RuleId, Scope};
use crate::model::time::Timestamp;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const WEEKDAYS: [Weekday; 7] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
const LONGEST_S: f64 = 30.0 * 86_400.0;
const MOST_STEPS: usize = 10;

/// Every field is optional here, so that one that is wrong does not hide another; `check` asks for those that must be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleDocument {
    pub name: Option<String>,
    pub enabled: Option<bool>,
    /// Numbers or names; stored as numbers.
    pub services: Vec<Value>,
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    pub kinds: Option<Vec<String>>,
    pub min_severity: Option<String>,
    pub certificate_days: Option<Vec<u32>>,
    pub min_size: Option<f64>,
    pub for_s: Option<f64>,
    /// Numbers or names; stored as numbers.
    pub channels: Vec<Value>,
    pub repeat_s: Option<f64>,
    pub quiet: Option<QuietDocument>,
    pub escalations: Vec<EscalationDocument>,
    pub tell_recovered: Option<bool>,
    pub tell_acknowledged: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuietDocument {
    pub timezone: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub days: Option<Vec<String>>,
    pub critical_passes: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EscalationDocument {
    pub after_s: Option<f64>,
    pub channels: Vec<Value>,
}

/// What names and numbers in a rule stand for; `None`: nobody.
pub struct Names<'a> {
    pub service: &'a dyn Fn(&Value) -> Option<ServiceId>,
    pub channel: &'a dyn Fn(&Value) -> Option<ChannelId>,
}

impl RuleDocument {
    /// Reads one JSON object, naming every field that does not fit.
    pub fn read(value: &Value) -> Result<RuleDocument, Vec<Mistake>> {
        let Value::Object(fields) = value else { return Err(vec![Mistake::new("", "must be an object")]) };
        let refusal = |document: Value| serde_json::from_value::<RuleDocument>(document).err().map(|error| error.to_string());
        let reading = Reading { refusal: &refusal, plain: &plain };
        let mut mistakes = Vec::new();
        for (name, value) in fields {
            reading.narrow(name, value, &|value| object(name, value), &mut mistakes);
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        serde_json::from_value(value.clone()).map_err(|error| vec![Mistake::new("", error.to_string())])
    }

    /// The rule that is planned by, or all that is wrong. Names of services and channels in the document become numbers, and what
    /// was left out its default: what is shown of it can be sent back and changes nothing.
    pub fn check(&mut self, id: RuleId, since: Timestamp, names: &Names) -> Result<Rule, Vec<Mistake>> {
        let mut wrong = Vec::new();
        let name = self.name.as_deref().unwrap_or_default().trim().to_owned();
        match name.chars().count() {
            0 => wrong.push(Mistake::new("name", "is required")),
            1..=200 if !name.chars().any(char::is_control) => {}
            _ => wrong.push(Mistake::new("name", "must have at most 200 characters and no control characters")),
        }
        self.name = Some(name.clone());
        let services = resolve("services", "service", &mut self.services, names.service, |id: &ServiceId| id.0, &mut wrong);
        let channels = resolve("channels", "channel", &mut self.channels, names.channel, |id: &ChannelId| id.0, &mut wrong);
        if self.channels.is_empty() {
            wrong.push(Mistake::new("channels", "must name at least one channel"));
        }
        let mut certificate_days = self.certificate_days.clone().unwrap_or_else(|| vec![14, 7, 1]);
        if certificate_days.is_empty() || certificate_days.len() > 20 || certificate_days.iter().any(|days| *days > 3_650) {
            wrong.push(Mistake::new("certificate_days", "must hold 1 to 20 numbers of days, each up to 3650"));
        }
        certificate_days.sort_unstable_by(|one, other| other.cmp(one));
        certificate_days.dedup();
        if self.min_size.is_some_and(|size| !size.is_finite() || size < 0.0) {
            wrong.push(Mistake::new("min_size", "must be a number of at least 0"));
        }
        let rule = Rule {
            id,
            name: name.as_str().into(),
            enabled: self.enabled.unwrap_or(true),
            scope: Scope { services, tags: self.tags.clone(), groups: self.groups.clone() },
            kinds: self.check_kinds(&mut wrong),
            least: self.check_severity(&mut wrong),
            certificate_days,
            least_size: self.min_size,
            after: seconds("for_s", self.for_s.unwrap_or(0.0), 0.0, &mut wrong),
            channels,
            repeat: self.repeat_s.map(|every| seconds("repeat_s", every, 10.0, &mut wrong)),
            quiet: self.quiet.as_ref().map(|quiet| quiet.check(&mut wrong)),
            escalations: self.check_escalations(names, &mut wrong),
            tell_recovered: self.tell_recovered.unwrap_or(true),
            tell_acknowledged: self.tell_acknowledged.unwrap_or(false),
            since,
        };
        if !wrong.is_empty() {
            return Err(wrong);
        }
        self.settle(&rule);
        Ok(rule)
    }

    fn settle(&mut self, rule: &Rule) {
        self.enabled = Some(rule.enabled);
        self.kinds = Some(rule.kinds.iter().map(|kind| kind.name().to_owned()).collect());
        self.min_severity = Some(rule.least.name().to_owned());
        self.certificate_days = Some(rule.certificate_days.clone());
        self.for_s = Some(rule.after.as_secs_f64());
        self.tell_recovered = Some(rule.tell_recovered);
        self.tell_acknowledged = Some(rule.tell_acknowledged);
        if let (Some(document), Some(quiet)) = (&mut self.quiet, &rule.quiet) {
            document.timezone = Some(quiet.zone.name().to_owned());
            document.days = Some(quiet.days.iter().map(|day| DAYS[day.num_days_from_monday() as usize].to_owned()).collect());
            document.critical_passes = Some(quiet.critical_passes);
        }
    }

    fn check_kinds(&self, wrong: &mut Vec<Mistake>) -> BTreeSet<CauseKind> {
        let Some(names) = &self.kinds else { return BTreeSet::from([CauseKind::Incident]) };
        if names.is_empty() {
            wrong.push(Mistake::new("kinds", "must name at least one kind of cause"));
        }
        let known = CauseKind::ALL.map(CauseKind::name);
        let mut kinds = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            match CauseKind::from_name(name) {
                Some(kind) => drop(kinds.insert(kind)),
                None => wrong.push(Mistake::new(
                    format!("kinds[{index}]"),
                    format!("{name:?} is not one of {}{}", known.join(", "), suggestion(name, known)),
                )),
            }
        }
        kinds
    }

    fn check_severity(&self, wrong: &mut Vec<Mistake>) -> Severity {
        let Some(name) = &self.min_severity else { return Severity::Warning };
        Severity::from_name(name).unwrap_or_else(|| {
            wrong.push(Mistake::new("min_severity", format!("must be warning or critical, not {name:?}")));
            Severity::Warning
        })
    }

    fn check_escalations(&mut self, names: &Names, wrong: &mut Vec<Mistake>) -> Vec<Escalation> {
        if self.escalations.len() > MOST_STEPS {
            wrong.push(Mistake::new("escalations", format!("must not have more than {MOST_STEPS} steps")));
        }
        let mut steps: Vec<Escalation> = Vec::new();
        for (index, step) in self.escalations.iter_mut().enumerate() {
            let place = format!("escalations[{index}]");
            let after = match step.after_s {
                Some(after) => seconds(&format!("{place}.after_s"), after, 1.0, wrong),
                None => {
                    wrong.push(Mistake::new(format!("{place}.after_s"), "is required"));
                    Duration::ZERO
                }
            };
            if steps.last().is_some_and(|before| before.after >= after) {
                wrong.push(Mistake::new(format!("{place}.after_s"), "must be more than that of the step before"));
            }
            if step.channels.is_empty() {
                wrong.push(Mistake::new(format!("{place}.channels"), "must name at least one channel"));
            }
            let path = format!("{place}.channels");
            let channels = resolve(&path, "channel", &mut step.channels, names.channel, |id: &ChannelId| id.0, wrong);
            steps.push(Escalation { after, channels });
        }
        steps
    }
}

impl QuietDocument {
    fn check(&self, wrong: &mut Vec<Mistake>) -> Quiet {
        let zone = self.timezone.as_deref().unwrap_or("UTC");
        let zone = zone.parse().unwrap_or_else(|_| {
            wrong.push(Mistake::new("quiet.timezone", format!("{zone:?} is not a time zone of the IANA database")));
            chrono_tz::UTC
        });
        let mut minute = |path: &str, given: &Option<String>| match given.as_deref().map(minute_of) {
            Some(Some(minute)) => minute,
            Some(None) => {
                wrong.push(Mistake::new(path, "must be a time of day such as \"22:00\""));
                0
            }
            None => {
                wrong.push(Mistake::new(path, "is required"));
                0
            }
        };
        let (from, until) = (minute("quiet.from", &self.from), minute("quiet.to", &self.to));
        let mut days = Vec::new();
        for (index, name) in self.days.iter().flatten().enumerate() {
            match DAYS.iter().position(|day| name.to_lowercase().starts_with(day)) {
                Some(day) => days.push(WEEKDAYS[day]),
                None => wrong.push(Mistake::new(format!("quiet.days[{index}]"), format!("{name:?} is not one of {}", DAYS.join(", ")))),
            }
        }
        if self.days.is_none() {
            days = WEEKDAYS.to_vec();
        } else if days.is_empty() {
            wrong.push(Mistake::new("quiet.days", "must name at least one day"));
        }
        if from == until && days.len() == 7 {
            wrong.push(Mistake::new("quiet.to", "would make it quiet for ever; switch the rule off instead"));
        }
        Quiet { zone, from, until, days, critical_passes: self.critical_passes.unwrap_or(true) }
    }
}

/// Minutes since midnight.
fn minute_of(text: &str) -> Option<u32> {
    let (hour, minute) = text.trim().split_once(':')?;
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn resolve<T>(
    path: &str,
    what: &str,
    given: &mut [Value],
    find: &dyn Fn(&Value) -> Option<T>,
    number: impl Fn(&T) -> u32,
    wrong: &mut Vec<Mistake>,
) -> Vec<T> {
    let mut found = Vec::new();
    for (index, value) in given.iter_mut().enumerate() {
        match find(value) {
            Some(id) => {
                *value = number(&id).into();
                found.push(id);
            }
            None => wrong.push(Mistake::new(format!("{path}[{index}]"), format!("there is no {what} {value}"))),
        }
    }
    found
}

fn seconds(path: &str, given: f64, least: f64, wrong: &mut Vec<Mistake>) -> Duration {
    if !(given >= least && given <= LONGEST_S) {
        wrong.push(Mistake::new(path, format!("must be from {least} to {LONGEST_S} seconds, not {given}")));
        return Duration::ZERO;
    }
    Duration::from_secs_f64(given)
}

/// The parser's words said plainly.
fn plain(words: &str, path: &str) -> String {
    if words.starts_with("unknown field") {
        return match path.rsplit_once('.') {
            None => "is not a field of a rule".to_owned(),
            Some((outer, _)) => format!("is not a field of {outer}"),
        };
    }
    wrong_kind(words).unwrap_or_else(|| words.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value) -> Result<Rule, Vec<String>> {
        let shown = |mistakes: Vec<Mistake>| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let number = |value: &Value| value.as_u64().filter(|number| *number < 10).map(|number| number as u32);
        let names = Names {
            service: &|value| number(value).or_else(|| (value == "shop").then_some(7)).map(ServiceId),
            channel: &|value| number(value).or_else(|| (value == "mail").then_some(3)).map(ChannelId),
        };
        RuleDocument::read(&value).and_then(|mut document| document.check(RuleId(1), Timestamp(0), &names)).map_err(shown)
    }

    #[test]
    fn a_rule_of_little_more_than_a_name_is_about_every_incident() {
        let rule = check(json!({"name": " all ", "channels": ["mail"]})).unwrap();
        assert_eq!((&*rule.name, rule.kinds.len(), rule.scope.is_all(), rule.tell_recovered), ("all", 1, true, true));
        assert_eq!((rule.channels, rule.repeat, rule.after), (vec![ChannelId(3)], None, Duration::ZERO));
    }

    #[test]
    fn every_mistake_is_told_with_its_field() {
        let wrong = json!({"name": "", "channels": ["post"], "services": ["shop", "blog"], "kinds": ["incidents"], "min_severity": "bad",
            "certificate_days": [], "for_s": -1, "repeat_s": 1, "min_size": -2,
            "quiet": {"timezone": "Mars/Olympus", "from": "25:00", "days": ["someday"]},
            "escalations": [{"after_s": 60, "channels": [3]}, {"after_s": 30, "channels": []}, {"channels": [99]}]});
        let fields: Vec<String> = check(wrong).unwrap_err().iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(
            fields,
            [
                "name",
                "services[1]",
                "channels[0]",
                "certificate_days",
                "min_size",
                "kinds[0]",
                "min_severity",
                "for_s",
                "repeat_s",
                "quiet.timezone",
                "quiet.from",
                "quiet.to",
                "quiet.days[0]",
                "quiet.days",
                "escalations[1].after_s",
                "escalations[1].channels",
                "escalations[2].after_s",
                "escalations[2].after_s",
                "escalations[2].channels[0]"
            ]
        );
        let table = [
            (json!({"name": "a", "channels": [1], "colour": "red"}), "colour: is not a field of a rule"),
            (json!({"name": 5, "for_s": "soon"}), "name: must be a string, not a number"),
            (json!({"name": "a", "channels": [1], "for_s": "soon"}), "for_s: must be a number, not \"soon\""),
            (
                json!({"name": "a", "channels": [1], "escalations": [{"after_s": "soon", "channels": [1]}]}),
                "escalations[0].after_s: must be a number, not \"soon\"",
            ),
            (json!([]), "must be an object"),
            (
                json!({"name": "a", "channels": [1], "quiet": {"from": "08:00", "to": "08:00"}}),
                "quiet.to: would make it quiet for ever; switch the rule off instead",
            ),
        ];
        for (value, expected) in table {
            assert_eq!(check(value).unwrap_err()[0], expected);
        }
    }
}
