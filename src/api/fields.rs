//! Fields of a JSON body taken one by one, so that one that is wrong does not hide another.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;

/// What was wrong with the fields so far.
#[derive(Debug, Default)]
pub struct Fields {
    pub wrong: Vec<Mistake>,
}

impl Fields {
    pub fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.wrong.push(Mistake::new(field, message));
    }

    pub fn required(&mut self, field: &str, value: &Option<Value>) {
        if value.as_ref().is_none_or(Value::is_null) {
            self.wrong(field, "is required");
        }
    }

    /// A text without blanks round it; an empty one counts as not given.
    pub fn text(&mut self, field: &str, value: &Option<Value>) -> Option<String> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Some(other) => {
                self.wrong(field, format!("must be a text, not {other}"));
                None
            }
        }
    }

    pub fn boolean(&mut self, field: &str, value: &Option<Value>) -> Option<bool> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::Bool(value)) => Some(*value),
            Some(other) => {
                self.wrong(field, format!("must be true or false, not {other}"));
                None
            }
        }
    }

    pub fn list(&mut self, field: &str, value: &Option<Value>) -> Vec<Value> {
        match value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(other) => {
                self.wrong(field, format!("must be a list, not {other}"));
                Vec::new()
            }
        }
    }

    pub fn number(&mut self, field: &str, value: &Option<Value>, range: RangeInclusive<f64>) -> Option<f64> {
        let value = value.as_ref().filter(|value| !value.is_null())?;
        let number = value.as_f64().filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(field, format!("must be a number from {} to {}, not {value}", range.start(), range.end()));
        }
        number
    }

    pub fn time(&mut self, field: &str, value: &Option<Value>) -> Option<Timestamp> {
        let text = self.text(field, value)?;
        let at = Timestamp::parse(&text);
        if at.is_none() {
            self.wrong(field, format!("must be a time such as 2026-01-31T08:00:00Z, not {text:?}"));
        }
        at
    }
}

/// The service a value names, by its number or name, if there is one.
pub fn service(state: &ApiState, value: &Value) -> Option<ServiceId> {
    match value {
        Value::Number(number) => {
            let id = ServiceId(number.as_u64().and_then(|id| u32::try_from(id).ok())?);
            state.services.get(id).map(|stored| stored.id)
        }
        Value::String(name) => state.services.find_by_name(name).map(|stored| stored.id),
        _ => None,
    }
}
