//! MongoDB: `hello`, a log-in where there is a password, `ping`, and the version from `buildInfo`.
//!
//! A message is an `OP_MSG` with one document (mongodb.com/docs/manual/reference/mongodb-wire-protocol), a document is BSON
//! (bsonspec.org) of the few types these commands take; of an answer only texts, numbers, booleans, bytes and documents are read, and
//! what else there is in it is skipped.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::probe::protocol::scram::Scram;
use crate::probe::protocol::{Dialer, LARGEST_MESSAGE, Line, Login, Server, Step, Steps, Trouble, excerpt};

const OP_MSG: i32 = 2013;
const HEAD: usize = 16;
/// How deep documents in an answer may lie in each other.
const DEEPEST: usize = 32;

/// The codes of errors that say: not without a log-in, and: not with this one.
const UNAUTHORIZED: f64 = 13.0;
const AUTHENTICATION_FAILED: f64 = 18.0;

/// The version the server tells; `None` where it may not be asked. `source` is the database the user is known in.
pub async fn greet(dialer: &Dialer, server: &Server, login: &Login, source: &str, steps: &Steps) -> Result<Option<String>, Trouble> {
    let mut talk = Talk { line: dialer.line(server, steps).await?, number: 0 };
    steps.reach(Step::Protocol);
    talk.ask("admin", &[("hello", Value::Int(1))]).await?.well("hello")?;
    if let (Some(user), Some(password)) = (&login.user, &login.password) {
        steps.reach(Step::Auth);
        log_in(&mut talk, user, password, source).await?;
    }
    steps.reach(Step::Protocol);
    talk.ask("admin", &[("ping", Value::Int(1))]).await?.well("ping")?;
    let about = talk.ask("admin", &[("buildInfo", Value::Int(1))]).await?;
    match about.0.get("version") {
        Some(Value::Text(version)) => Ok(Some(version.clone())),
        _ => Ok(None),
    }
}

async fn log_in(talk: &mut Talk, user: &str, password: &str, source: &str) -> Result<(), Trouble> {
    let strange = || Trouble::auth("the server's part of the log-in cannot be understood");
    let nonce = BASE64_STANDARD.encode(rand::random::<[u8; 24]>());
    let scram = Scram::new(user, &nonce);
    let start = [
        ("saslStart", Value::Int(1)),
        ("mechanism", Value::Text("SCRAM-SHA-256".to_owned())),
        ("payload", Value::Bytes(scram.first().into_bytes())),
        ("options", Value::Document(BTreeMap::from([("skipEmptyExchange".to_owned(), Value::Bool(true))]))),
    ];
    let first = talk.ask(source, &start).await?.accepted()?;
    let proof = scram.prove(password, &first.payload().ok_or_else(strange)?).ok_or_else(strange)?;
    let id = first.number("conversationId").ok_or_else(strange)? as i32;
    let next = |payload: Vec<u8>| [("saslContinue", Value::Int(1)), ("conversationId", Value::Int(id)), ("payload", Value::Bytes(payload))];
    let last = talk.ask(source, &next(proof.message.into_bytes())).await?.accepted()?;
    if last.payload().as_deref().and_then(|payload| payload.strip_prefix("v=")) != Some(&proof.server) {
        return Err(Trouble::auth("the server does not prove that it knows the password"));
    }
    if last.0.get("done") != Some(&Value::Bool(true)) {
        // A server that does not skip the empty exchange.
        talk.ask(source, &next(Vec::new())).await?.accepted()?;
    }
    Ok(())
}

/// What a document of ours or of an answer holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i32),
    Number(f64),
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Document(BTreeMap<String, Value>),
}

struct Talk {
    line: Line,
    number: i32,
}

struct Answer(BTreeMap<String, Value>);

impl Talk {
    /// The name of a command comes first, so the fields have an order.
    async fn ask(&mut self, database: &str, fields: &[(&str, Value)]) -> Result<Answer, Trouble> {
        self.number += 1;
        let database = ("$db", Value::Text(database.to_owned()));
        let fields: Vec<(&str, &Value)> = fields.iter().chain([&database]).map(|(name, value)| (*name, value)).collect();
        let body = document(&fields);
        self.line.send(&message(self.number, 0, &body)).await?;
        let head = self.line.bytes(HEAD).await?;
        let word = |at: usize| i32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = usize::try_from(word(0)).unwrap_or(0);
        if word(12) != OP_MSG || !(HEAD + 5..=LARGEST_MESSAGE).contains(&length) {
            let said = excerpt(&String::from_utf8_lossy(&head));
            return Err(Trouble::protocol(format!("the server does not speak MongoDB: it answers {said:?}")));
        }
        let rest = self.line.bytes(length - HEAD).await?;
        // Flags, and then a section that is one document.
        let body = rest.get(5..).filter(|_| rest[4] == 0).and_then(|body| read(body, 0)).map(|(body, _)| body);
        body.map(Answer).ok_or_else(|| Trouble::protocol("the server's answer is not a BSON document"))
    }
}

impl Answer {
    fn number(&self, name: &str) -> Option<f64> {
        match self.0.get(name) {
            Some(Value::Int(number)) => Some((*number).into()),
            Some(Value::Number(number)) => Some(*number),
            Some(Value::Bool(flag)) => Some(f64::from(u8::from(*flag))),
            _ => None,
        }
    }

    fn payload(&self) -> Option<String> {
        match self.0.get("payload") {
            Some(Value::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        }
    }

    fn refusal(&self) -> Option<(f64, String)> {
        if self.number("ok") == Some(1.0) {
            return None;
        }
        let said = match self.0.get("errmsg") {
            Some(Value::Text(text)) => excerpt(text),
            _ => "no reason given".to_owned(),
        };
        Some((self.number("code").unwrap_or(0.0), said))
    }

    fn well(self, command: &str) -> Result<Answer, Trouble> {
        match self.refusal() {
            None => Ok(self),
            Some((UNAUTHORIZED, _)) => Err(Trouble::auth(format!("the server asks for a log-in before {command}"))),
            Some((_, said)) => Err(Trouble::protocol(format!("the server refuses {command}: {said}"))),
        }
    }

    fn accepted(self) -> Result<Answer, Trouble> {
        match self.refusal() {
            None => Ok(self),
            Some((AUTHENTICATION_FAILED, _)) => Err(Trouble::auth("the server refuses the user name or password")),
            Some((_, said)) => Err(Trouble::auth(format!("the server refuses the log-in: {said}"))),
        }
    }
}

/// An `OP_MSG` with one document.
pub fn message(number: i32, answer_to: i32, body: &[u8]) -> Vec<u8> {
    let length = HEAD + 5 + body.len();
    let mut out = Vec::with_capacity(length);
    for word in [i32::try_from(length).unwrap_or(i32::MAX), number, answer_to, OP_MSG, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.push(0);
    out.extend_from_slice(body);
    out
}

/// The bytes of a document.
pub fn document(fields: &[(&str, &Value)]) -> Vec<u8> {
    let mut out = vec![0; 4];
    for (name, value) in fields {
        out.push(match value {
            Value::Number(_) => 0x01,
            Value::Text(_) => 0x02,
            Value::Document(_) => 0x03,
            Value::Bytes(_) => 0x05,
            Value::Bool(_) => 0x08,
            Value::Int(_) => 0x10,
        });
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        match value {
            Value::Number(number) => out.extend_from_slice(&number.to_le_bytes()),
            Value::Text(text) => {
                out.extend_from_slice(&(text.len() as i32 + 1).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            Value::Document(inner) => {
                let inner: Vec<(&str, &Value)> = inner.iter().map(|(name, value)| (name.as_str(), value)).collect();
                out.extend(document(&inner));
            }
            Value::Bytes(bytes) => {
                out.extend_from_slice(&(bytes.len() as i32).to_le_bytes());
                out.push(0);
                out.extend_from_slice(bytes);
            }
            Value::Bool(flag) => out.push(u8::from(*flag)),
            Value::Int(number) => out.extend_from_slice(&number.to_le_bytes()),
        }
    }
    out.push(0);
    let length = out.len() as i32;
    out[..4].copy_from_slice(&length.to_le_bytes());
    out
}

/// The document at the beginning of bytes, and its length.
pub fn read(bytes: &[u8], depth: usize) -> Option<(BTreeMap<String, Value>, usize)> {
    let length = usize::try_from(i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let inside = bytes.get(4..length.checked_sub(1)?)?;
    if depth > DEEPEST || bytes.get(length - 1) != Some(&0) {
        return None;
    }
    let (mut fields, mut at) = (BTreeMap::new(), 0);
    while at < inside.len() {
        let kind = inside[at];
        let name_end = at + 1 + inside[at + 1..].iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&inside[at + 1..name_end]).ok()?.to_owned();
        let rest = &inside[name_end + 1..];
        let counted = || usize::try_from(i32::from_le_bytes(rest.get(..4)?.try_into().ok()?)).ok();
        let (value, taken) = match kind {
            0x01 => (Some(Value::Number(f64::from_le_bytes(rest.get(..8)?.try_into().ok()?))), 8),
            0x02 | 0x0d | 0x0e => {
                let count = counted()?;
                let text = rest.get(4..4 + count.checked_sub(1)?)?;
                (Some(Value::Text(String::from_utf8_lossy(text).into_owned())), 4 + count)
            }
            0x03 | 0x04 => {
                let (inner, taken) = read(rest, depth + 1)?;
                (Some(Value::Document(inner)), taken)
            }
            0x05 => {
                let count = counted()?;
                (Some(Value::Bytes(rest.get(5..5 + count)?.to_vec())), 5 + count)
            }
            0x07 => (None, 12),
            0x08 => (Some(Value::Bool(*rest.first()? != 0)), 1),
            0x0a | 0x06 | 0x7f | 0xff => (None, 0),
            0x10 => (Some(Value::Int(i32::from_le_bytes(rest.get(..4)?.try_into().ok()?))), 4),
            // A time or a long number; 64 bits are more than any code or count here needs.
            0x09 | 0x11 | 0x12 => (Some(Value::Number(i64::from_le_bytes(rest.get(..8)?.try_into().ok()?) as f64)), 8),
            0x13 => (None, 16),
            _ => return None,
        };
        at = name_end + 1 + taken;
        if at > inside.len() {
            return None;
        }
        if let Some(value) = value {
            fields.insert(name, value);
        }
    }
    Some((fields, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_back_as_it_was_written_and_damage_is_no_panic() {
        let inner = BTreeMap::from([("a".to_owned(), Value::Bool(true))]);
        let fields = [
            ("int", Value::Int(-7)),
            ("number", Value::Number(1.5)),
            ("text", Value::Text("wörter".to_owned())),
            ("bytes", Value::Bytes(vec![0, 255])),
            ("inner", Value::Document(inner)),
        ];
        let given: Vec<(&str, &Value)> = fields.iter().map(|(name, value)| (*name, value)).collect();
        let bytes = document(&given);
        let (found, length) = read(&bytes, 0).unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(found, fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], 0).is_none(), "{cut}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = read(&damaged, 0);
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let bytes = document(&[("hello", &Value::Text("world".to_owned()))]);
        assert_eq!(bytes, b"\x16\x00\x00\x00\x02hello\x00\x06\x00\x00\x00world\x00\x00");
    }
}
