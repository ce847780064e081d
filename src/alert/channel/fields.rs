//! The fields of a kind as a table: by it they are checked, shown without their secrets, sealed, and explained to people.
//!
//! **Invariant.** A field that can hold a secret is marked so in its table; nothing else decides what is hidden.

use serde_json::{Map, Value};
use url::Url;

use crate::api::mask::MASK;
use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;

/// The longest text of any field.
const LONGEST: usize = 65_536;

#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub about: &'static str,
    pub form: Form,
    pub required: bool,
    /// It says where the channel leads: where that changes, a mask no longer stands for the secret that is kept.
    pub place: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// A password or token.
    Secret,
    /// An http or https address.
    Address,
    /// The same, and what is behind its host is a secret.
    SecretAddress,
    Number {
        least: u64,
        most: u64,
    },
    Flag,
    /// A list of texts.
    Texts,
    /// Names to values that are secrets.
    SecretTexts,
    Choice(&'static [&'static str]),
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Secret => "secret",
            Form::Address => "address",
            Form::SecretAddress => "secret address",
            Form::Number { .. } => "number",
            Form::Flag => "flag",
            Form::Texts => "list of texts",
            Form::SecretTexts => "secrets by name",
            Form::Choice(_) => "choice",
        }
    }

    pub fn is_secret(self) -> bool {
        matches!(self, Form::Secret | Form::SecretAddress | Form::SecretTexts)
    }
}

pub const fn field(name: &'static str, form: Form, about: &'static str) -> Field {
    let place = matches!(form, Form::Address | Form::SecretAddress);
    Field { name, about, form, required: false, place }
}

impl Field {
    pub const fn required(self) -> Field {
        Field { required: true, ..self }
    }

    pub const fn place(self) -> Field {
        Field { place: true, ..self }
    }
}

/// The fields of one channel, checked against their table, to be read one by one.
pub struct Fields<'a> {
    given: &'a Map<String, Value>,
    wrong: Vec<Mistake>,
}

impl<'a> Fields<'a> {
    /// Every mistake the table can see.
    pub fn new(table: &[Field], given: &'a Map<String, Value>) -> Result<Fields<'a>, Vec<Mistake>> {
        let mut wrong = Vec::new();
        for name in given.keys().filter(|name| !table.iter().any(|field| field.name == name.as_str())) {
            wrong
                .push(Mistake::new(name, format!("is not a field of this kind{}", suggestion(name, table.iter().map(|field| field.name)))));
        }
        for field in table {
            match given.get(field.name) {
                None | Some(Value::Null) if field.required => wrong.push(Mistake::new(field.name, "is missing")),
                None | Some(Value::Null) => {}
                Some(value) => check(field, value, &mut wrong),
            }
        }
        if wrong.is_empty() { Ok(Fields { given, wrong }) } else { Err(wrong) }
    }

    pub fn finish<T>(self, read: T) -> Result<T, Vec<Mistake>> {
        if self.wrong.is_empty() { Ok(read) } else { Err(self.wrong) }
    }

    pub fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.wrong.push(Mistake::new(name, message));
    }

    /// Without the blanks round it; `None` where nothing else is left.
    pub fn text(&self, name: &str) -> Option<String> {
        let text = self.given.get(name)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// One that must be there; the table has seen to that.
    pub fn needed(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// To the letter, as templates and passwords are.
    pub fn verbatim(&self, name: &str) -> Option<String> {
        let text = self.given.get(name)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub fn address(&self, name: &str) -> Option<Url> {
        Url::parse(&self.text(name)?).ok()
    }

    /// One that must be there, or has a usual value.
    pub fn address_or(&self, name: &str, usual: &str) -> Url {
        self.address(name).unwrap_or_else(|| Url::parse(usual).expect("usual addresses are well formed"))
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.given.get(name)?.as_u64()
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        self.given.get(name)?.as_bool()
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        let list = self.given.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|text| Some(text.as_str()?.trim().to_owned())).filter(|text| !text.is_empty()).collect()
    }

    pub fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let pairs = self.given.get(name).and_then(Value::as_object);
        pairs.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    }
}

fn check(field: &Field, value: &Value, wrong: &mut Vec<Mistake>) {
    let mut no = |path: String, message: &str| wrong.push(Mistake::new(path, message));
    let name = field.name;
    match (field.form, value) {
        (Form::Text | Form::Secret, Value::String(text)) => {
            if text.trim().is_empty() && field.required {
                no(name.to_owned(), "must not be empty");
            } else if text.len() > LONGEST {
                no(name.to_owned(), "is longer than 65536 bytes");
            }
        }
        (Form::Text | Form::Secret, _) => no(name.to_owned(), "must be a text"),
        (Form::Address | Form::SecretAddress, Value::String(text)) => match Url::parse(text.trim()) {
            Err(error) => no(name.to_owned(), &format!("is not a URL: {error}")),
            Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) => {
                no(name.to_owned(), "must be an http or https address");
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                no(name.to_owned(), "must not hold a user name or password; use the fields that are for secrets");
            }
            Ok(_) => {}
        },
        (Form::Address | Form::SecretAddress, _) => no(name.to_owned(), "must be an http or https address"),
        (Form::Number { least, most }, value) => {
            if !value.as_u64().is_some_and(|number| (least..=most).contains(&number)) {
                no(name.to_owned(), &format!("must be a whole number from {least} to {most}"));
            }
        }
        (Form::Flag, Value::Bool(_)) => {}
        (Form::Flag, _) => no(name.to_owned(), "must be true or false"),
        (Form::Texts, Value::Array(list)) => {
            if field.required && list.is_empty() {
                no(name.to_owned(), "must not be empty");
            }
            for (index, _) in list.iter().enumerate().filter(|(_, text)| text.as_str().is_none_or(|text| text.len() > LONGEST)) {
                no(format!("{name}[{index}]"), "must be a text");
            }
        }
        (Form::Texts, _) => no(name.to_owned(), "must be a list of texts"),
        (Form::SecretTexts, Value::Object(pairs)) => {
            for (key, _) in pairs.iter().filter(|(_, value)| !value.is_string()) {
                no(format!("{name}.{key}"), "must be a text");
            }
        }
        (Form::SecretTexts, _) => no(name.to_owned(), "must be an object of texts"),
        (Form::Choice(names), value) => match value.as_str() {
            Some(given) if names.contains(&given) => {}
            Some(given) => {
                no(name.to_owned(), &format!("{given:?} is not one of {}{}", names.join(", "), suggestion(given, names.iter().copied())))
            }
            None => no(name.to_owned(), &format!("must be one of {}", names.join(", "))),
        },
    }
}

/// The fields as people see them: every secret a mask, of an address that is one its host alone.
pub fn masked(table: &[Field], config: &Map<String, Value>) -> Map<String, Value> {
    let mut shown = config.clone();
    for field in table {
        let Some(value) = shown.get_mut(field.name) else { continue };
        match (field.form, value) {
            (Form::Secret, value @ Value::String(_)) => *value = MASK.into(),
            (Form::SecretAddress, Value::String(text)) => *text = hidden_address(text),
            (Form::SecretTexts, Value::Object(pairs)) => pairs.values_mut().for_each(|value| *value = MASK.into()),
            _ => {}
        }
    }
    shown
}

/// `https://hooks.example/********`; one without anything behind the host is no secret.
fn hidden_address(text: &str) -> String {
    match Url::parse(text.trim()) {
        Ok(url) if url.path() == "/" && url.query().is_none() => text.to_owned(),
        Ok(url) => format!("{}/{MASK}", origin(&url)),
        Err(_) => MASK.to_owned(),
    }
}

fn origin(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Puts what is kept in the place of every mask. A mask where nothing is kept is a mistake, and so is one in a channel that
/// now leads elsewhere: its secrets must not be sent to a host they were not given for.
pub fn unmask(table: &[Field], config: &mut Map<String, Value>, kept: Option<&Map<String, Value>>) -> Vec<Mistake> {
    let mut wrong = Vec::new();
    let kept = kept.filter(|kept| leads_to(table, kept) == leads_to(table, config));
    let mut restore = |value: &mut Value, kept: Option<&Value>, path: String| match kept {
        Some(kept) => *value = kept.clone(),
        None => wrong.push(Mistake::new(
            path,
            "is a mask, and there is no value it could stand for: give the value itself, also when the channel now leads elsewhere",
        )),
    };
    for field in table {
        let Some(value) = config.get_mut(field.name) else { continue };
        let old = kept.and_then(|kept| kept.get(field.name));
        match (field.form, value) {
            (Form::Secret, value) if value.as_str() == Some(MASK) => restore(value, old, field.name.to_owned()),
            (Form::SecretAddress, value) if value.as_str().is_some_and(|text| text.contains(MASK)) => {
                restore(value, old, field.name.to_owned());
            }
            (Form::SecretTexts, Value::Object(pairs)) => {
                for (name, value) in pairs.iter_mut().filter(|(_, value)| value.as_str() == Some(MASK)) {
                    restore(value, old.and_then(|old| old.get(name)), format!("{}.{name}", field.name));
                }
            }
            _ => {}
        }
    }
    wrong
}

/// Every place the secrets of a channel are sent to.
fn leads_to(table: &[Field], config: &Map<String, Value>) -> Vec<Option<String>> {
    let place = |field: &Field| {
        let value = config.get(field.name).filter(|value| !value.is_null())?;
        match (field.form, value.as_str().map(|text| Url::parse(text.trim()))) {
            (Form::Address | Form::SecretAddress, Some(Ok(url))) => Some(origin(&url)),
            _ => Some(value.to_string()),
        }
    };
    table.iter().filter(|field| field.place).map(place).collect()
}

/// The secrets of a channel: those texts that must be in nothing that is shown.
pub fn secrets(table: &[Field], config: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for field in table {
        match (field.form, config.get(field.name)) {
            (Form::Secret, Some(Value::String(text))) => found.push(text.trim().to_owned()),
            (Form::SecretAddress, Some(Value::String(text))) => {
                if let Ok(url) = Url::parse(text.trim()) {
                    found.extend(secret_parts(&url));
                }
            }
            (Form::SecretTexts, Some(Value::Object(pairs))) => {
                for value in pairs.values().filter_map(Value::as_str) {
                    found.push(value.to_owned());
                    // `Bearer x`: the second word alone is the secret too.
                    found.extend(value.split_once(' ').map(|(_, secret)| secret.to_owned()));
                }
            }
            _ => {}
        }
    }
    // Shorter ones would hide what is no secret.
    found.retain(|secret| secret.len() >= 4);
    found
}

/// The whole of it behind the host, and its longer parts, which an answer may repeat alone.
fn secret_parts(url: &Url) -> Vec<String> {
    let mut parts = Vec::new();
    let path = url.path();
    if path.len() > 1 {
        parts.push(url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")));
        parts.push(path.to_owned());
    }
    parts.extend(path.split('/').filter(|part| part.len() >= 12).map(str::to_owned));
    parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()).filter(|value| value.len() >= 8));
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLE: &[Field] = &[
        field("url", Form::SecretAddress, "").required(),
        field("token", Form::Secret, ""),
        field("headers", Form::SecretTexts, ""),
        field("port", Form::Number { least: 1, most: 9 }, "").place(),
        field("tone", Form::Choice(&["loud", "quiet"]), ""),
    ];

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("it is an object").clone()
    }

    #[test]
    fn what_is_shown_holds_no_secret_and_comes_back_whole() {
        let kept = map(json!({"url": "https://h.example/T0/s3cret-path", "token": "s3cret", "headers": {"X-A": "s3cret"}, "port": 1}));
        let mut shown = masked(TABLE, &kept);
        assert_eq!(shown["url"], "https://h.example/********");
        assert!(!Value::Object(shown.clone()).to_string().contains("s3cret"));
        assert_eq!(unmask(TABLE, &mut shown, Some(&kept)), []);
        assert_eq!(shown, kept);
    }

    #[test]
    fn a_mask_in_a_channel_that_leads_elsewhere_stands_for_nothing() {
        let kept = map(json!({"url": "https://h.example/s3cret", "token": "s3cret", "port": 1}));
        for change in [json!({"url": "https://evil.example/x"}), json!({"url": "http://h.example/x"}), json!({"port": 2})] {
            let mut edited = masked(TABLE, &kept);
            edited.extend(map(change));
            let wrong = unmask(TABLE, &mut edited, Some(&kept));
            assert!(wrong.iter().any(|mistake| mistake.path == "token"), "{wrong:?}");
            assert!(!Value::Object(edited).to_string().contains("s3cret"));
        }
    }

    #[test]
    fn each_mistake_names_its_field() {
        let given = map(json!({"url": "ftp://h.example", "token": 1, "headers": {"X-A": 1}, "port": 10, "tone": "lout", "tonne": 1}));
        let wrong = Fields::new(TABLE, &given).err().expect("it is wrong");
        let paths: Vec<&str> = wrong.iter().map(|mistake| mistake.path.as_str()).collect();
        assert_eq!(paths, ["tonne", "url", "token", "headers.X-A", "port", "tone"]);
        assert_eq!(wrong[5].message, "\"lout\" is not one of loud, quiet; did you mean loud?");
        assert_eq!(Fields::new(TABLE, &map(json!({}))).err().map(|wrong| wrong[0].message.clone()), Some("is missing".to_owned()));
    }
}
