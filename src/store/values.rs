//! Values as the database takes them and rows as it gives them back.
//!
//! Unsigned numbers are kept as the signed number of the same bits.

use surrealdb::IndexedResults;
use surrealdb::types::{Array, Bytes, Number, Object, RecordId, RecordIdKey, Value};

use crate::store::connection::StoreError;

pub fn int(value: i64) -> Value {
    Value::Number(Number::Int(value))
}

pub fn unsigned(value: u64) -> Value {
    int(value as i64)
}

pub fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

pub fn bytes(value: impl Into<Vec<u8>>) -> Value {
    Value::Bytes(Bytes::from(value.into()))
}

pub fn array(values: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(Array::from(values.into_iter().collect::<Vec<Value>>()))
}

/// A record whose key is one number.
pub fn record(table: &str, number: i64) -> Value {
    Value::RecordId(RecordId::new(table, RecordIdKey::Number(number)))
}

/// A record whose key is a text.
pub fn record_named(table: &str, name: &str) -> Value {
    Value::RecordId(RecordId::new(table, RecordIdKey::String(name.to_owned())))
}

/// A record whose key is an array.
pub fn record_of(table: &str, key: Vec<Value>) -> Value {
    Value::RecordId(RecordId::new(table, RecordIdKey::Array(Array::from(key))))
}

pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let mut object = Object::new();
    for (name, value) in fields {
        object.insert(name, value);
    }
    Value::Object(object)
}

/// One row of an answer.
pub struct Row(Object);

/// The rows of one statement's answer; `NONE` is no row.
pub fn rows(answer: &mut IndexedResults, statement: usize) -> Result<Vec<Row>, StoreError> {
    let value: Value = answer.take(statement).map_err(|error| corrupt("answer", error))?;
    match value {
        Value::None | Value::Null => Ok(Vec::new()),
        Value::Object(object) => Ok(vec![Row(object)]),
        Value::Array(values) => values.into_vec().into_iter().map(Row::new).filter_map(Result::transpose).collect(),
        other => Err(corrupt("answer", format!("{other:?} is no row"))),
    }
}

impl Row {
    fn new(value: Value) -> Result<Option<Row>, StoreError> {
        match value {
            Value::Object(object) => Ok(Some(Row(object))),
            Value::None | Value::Null => Ok(None),
            other => Err(corrupt("answer", format!("{other:?} is no row"))),
        }
    }

    pub fn int(&self, field: &str) -> Result<i64, StoreError> {
        match self.0.get(field) {
            Some(Value::Number(Number::Int(value))) => Ok(*value),
            other => Err(wrong(field, other)),
        }
    }

    /// A number that may be left out.
    pub fn optional_int(&self, field: &str) -> Result<Option<i64>, StoreError> {
        match self.0.get(field) {
            None | Some(Value::None) => Ok(None),
            _ => self.int(field).map(Some),
        }
    }

    pub fn unsigned(&self, field: &str) -> Result<u64, StoreError> {
        Ok(self.int(field)? as u64)
    }

    pub fn text(&self, field: &str) -> Result<&str, StoreError> {
        match self.0.get(field) {
            Some(Value::String(value)) => Ok(value),
            other => Err(wrong(field, other)),
        }
    }

    pub fn flag(&self, field: &str) -> Result<bool, StoreError> {
        match self.0.get(field) {
            Some(Value::Bool(value)) => Ok(*value),
            other => Err(wrong(field, other)),
        }
    }

    pub fn bytes(&self, field: &str) -> Result<bytes::Bytes, StoreError> {
        match self.0.get(field) {
            Some(Value::Bytes(value)) => Ok(value.clone().into_inner()),
            other => Err(wrong(field, other)),
        }
    }

    /// `None`: the field was left out.
    pub fn maybe_bytes(&self, field: &str) -> Result<Option<bytes::Bytes>, StoreError> {
        match self.0.get(field) {
            None | Some(Value::None) => Ok(None),
            Some(_) => self.bytes(field).map(Some),
        }
    }

    /// The number that is the key.
    pub fn key_number(&self) -> Result<i64, StoreError> {
        match self.0.get("id") {
            Some(Value::RecordId(RecordId { key: RecordIdKey::Number(number), .. })) => Ok(*number),
            other => Err(wrong("id", other)),
        }
    }

    /// The parts of a key that is an array.
    pub fn key(&self) -> Result<Key<'_>, StoreError> {
        match self.0.get("id") {
            Some(Value::RecordId(RecordId { key: RecordIdKey::Array(parts), .. })) => Ok(Key(parts)),
            other => Err(wrong("id", other)),
        }
    }
}

/// A key that is an array.
pub struct Key<'a>(&'a Array);

impl<'a> Key<'a> {
    pub fn int(&self, part: usize) -> Result<i64, StoreError> {
        match self.0.get(part) {
            Some(Value::Number(Number::Int(value))) => Ok(*value),
            other => Err(wrong("id", other)),
        }
    }

    pub fn text(&self, part: usize) -> Result<&'a str, StoreError> {
        match self.0.get(part) {
            Some(Value::String(value)) => Ok(value),
            other => Err(wrong("id", other)),
        }
    }
}

pub fn corrupt(what: &'static str, message: impl ToString) -> StoreError {
    StoreError::Corrupt { what, message: message.to_string() }
}

fn wrong(field: &str, found: Option<&Value>) -> StoreError {
    corrupt("row", format!("field {field} is {found:?}"))
}
