//! What other monitors keep → services: the configuration of Gatus (https://github.com/TwiN/gatus, YAML) and a backup of Uptime
//! Kuma (https://github.com/louislam/uptime-kuma, JSON). Pure.
//!
//! What has no like here is left and told, each thing by the service it belongs to; a service that would not be watched as it was
//! meant to be (another protocol, a test turned round) is left whole.

mod condition;
mod gatus;
mod kuma;

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::config::service::ServiceDocument;
use crate::model::id::ServiceId;
use crate::model::service::Schedule;

/// Services of another monitor's file.
#[derive(Debug, Default)]
pub struct Foreign {
    /// The other monitor's name.
    pub from: &'static str,
    pub documents: Vec<ServiceDocument>,
    pub left: Vec<Left>,
}

/// What was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// `None`: it belongs to no service.
    pub service: Option<String>,
    pub what: String,
}

/// An entry as it is being taken over: a service as people write it, and what of it is left.
#[derive(Default)]
struct Taken {
    service: Map<String, Value>,
    left: Vec<String>,
}

/// `None`: it is no file of a monitor that is known here. An error says where a file that looks like one is broken.
pub fn read(text: &str, default_schedule: &Schedule) -> Option<Result<Foreign, String>> {
    let text = text.trim_start_matches('\u{feff}');
    let whole: Value = match serde_json::from_str(text) {
        Ok(whole) => whole,
        Err(_) => match serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false, strict_booleans: true }) {
            Ok(whole) => whole,
            Err(error) => return gatus::looks_like(text).then(|| Err(error.to_string())),
        },
    };
    let (from, entries) = match &whole {
        Value::Object(file) if file.contains_key("monitorList") => ("Uptime Kuma", kuma::entries(file)),
        Value::Object(file) if gatus::is_gatus(file) => ("Gatus", gatus::entries(file)),
        _ => return None,
    };
    let mut foreign = Foreign { from, ..Foreign::default() };
    let mut names = HashSet::new();
    for (name, taken) in entries {
        let Some(name) = name else {
            foreign.left.extend(taken.left.into_iter().map(|what| Left { service: None, what }));
            continue;
        };
        let Taken { mut service, mut left } = taken;
        if !service.is_empty() {
            service.insert("name".to_owned(), unused(&mut names, &name, service.get("group")).into());
            let read = ServiceDocument::read(&Value::Object(service)).and_then(|document| {
                document.check_written(ServiceId(0), default_schedule)?;
                Ok(document)
            });
            match read {
                Ok(document) => foreign.documents.push(document),
                Err(mistakes) => left.extend(mistakes.iter().map(|mistake| format!("is left out: {} {}", mistake.path, mistake.message))),
            }
        }
        foreign.left.extend(left.into_iter().map(|what| Left { service: Some(name.clone()), what }));
    }
    Some(Ok(foreign))
}

/// A name is one service's alone here; elsewhere it may be once a group, or any number of times.
fn unused(names: &mut HashSet<String>, name: &str, group: Option<&Value>) -> String {
    let name = name.trim();
    let grouped = group.and_then(Value::as_str).map(|group| format!("{name} ({group})"));
    let numbered = (2..).map(|number| format!("{name} {number}"));
    let mut choices = std::iter::once(name.to_owned()).chain(grouped).chain(numbered);
    choices.find(|choice| names.insert(choice.clone())).unwrap_or_default()
}

impl Taken {
    /// Nothing of it is taken over.
    fn nothing(why: impl Into<String>) -> Taken {
        Taken { service: Map::new(), left: vec![why.into()] }
    }

    /// Sets what there is; a path of two names is a part of a part.
    fn set(&mut self, path: &str, value: impl Into<Value>) {
        match path.split_once('.') {
            None => drop(self.service.insert(path.to_owned(), value.into())),
            Some((outer, inner)) => {
                let part = self.service.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(part) = part {
                    part.insert(inner.to_owned(), value.into());
                }
            }
        }
    }

    fn leave(&mut self, what: impl Into<String>) {
        self.left.push(what.into());
    }
}

/// A scalar as text; nothing of what is none, or empty.
fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// `true`, `1`, `"1"`
fn truth(value: Option<&Value>) -> bool {
    matches!(text(value).as_deref(), Some("true" | "1"))
}

/// A pattern that only this text matches, whole.
fn exactly(text: &str) -> String {
    format!("^{}$", regex::escape(text))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_no_file_of_another_monitor_is_none() {
        let schedule = Schedule::Interval(Duration::from_secs(60));
        for text in
            ["", "[]", "[{\"name\": \"x\"", "{\"services\": [{\"name\": \"x\", \"base_url\": \"https://x\"}]}", "just words", "a: 1"]
        {
            assert!(read(text, &schedule).is_none(), "{text}");
        }
        let broken = read("endpoints:\n  - name: a\n   url: x\n", &schedule).expect("it looks like one").expect_err("it is broken");
        assert!(broken.contains('3') || broken.contains("line"), "{broken}");
    }

    #[test]
    fn a_name_is_used_once() {
        let mut names = HashSet::new();
        let group = Value::from("core");
        let given: Vec<String> = (0..4).map(|_| unused(&mut names, " api ", Some(&group))).collect();
        assert_eq!(given, ["api", "api (core)", "api 2", "api 3"]);
    }
}
