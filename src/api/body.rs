//! A request's body as JSON, bounded.

use rocket::data::{Data, FromData, Outcome};
use rocket::http::Status;
use rocket::request::Request;
use rocket::tokio::io::AsyncReadExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::auth::managed;
use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::config::misfit::{Reading, missing, object, wrong_kind};
use crate::config::mistake::Mistake;

/// So much of a body that is too large is still read, so that a client which sends before it listens gets the answer.
const READ_ON: u64 = 64 << 20;

/// A body that is JSON; whether it is the right JSON is for the handler.
pub struct JsonBody(pub Value);

/// The same, for what is taken over from elsewhere: at most [`LONG`] bytes, or as much as any body, if that is more.
pub struct LongBody(pub Value);

const LONG: u64 = 32 << 20;

impl JsonBody {
    /// Reads the body as one of the API's own requests.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        <T as serde::Deserialize>::deserialize(&self.0).map_err(|error| ApiError::invalid(mistakes::<T>(&self.0, &error.to_string())))
    }
}

/// Every field that does not fit; where none does not, what is lacking or wrong with the whole.
fn mistakes<T: DeserializeOwned>(body: &Value, words: &str) -> Vec<Mistake> {
    // A field alone lacks all others.
    let refusal = |document: Value| {
        let words = serde_json::from_value::<T>(document).err().map(|error| error.to_string());
        words.filter(|words| missing(words).is_none())
    };
    let plain = |words: &str, _: &str| wrong_kind(words).unwrap_or_else(|| words.to_owned());
    let reading = Reading { refusal: &refusal, plain: &plain };
    let mut mistakes = Vec::new();
    for (name, value) in body.as_object().into_iter().flatten() {
        reading.narrow(name, value, &|value| object(name, value), &mut mistakes);
    }
    if mistakes.is_empty() {
        mistakes.push(match missing(words) {
            Some(field) => Mistake::new(field, "is required"),
            None => Mistake::new("", plain(words, "")),
        });
    }
    mistakes
}

/// Changes fields of an object by JSON Merge Patch, RFC 7396.
pub fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(&name);
            }
            Value::Object(inner) => {
                let slot = target.entry(name).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, inner);
                }
            }
            value => {
                target.insert(name, value);
            }
        }
    }
}

#[rocket::async_trait]
impl<'r> FromData<'r> for JsonBody {
    type Error = ApiError;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, JsonBody> {
        match read(request, data, limit(request)).await {
            Ok(value) => Outcome::Success(JsonBody(value)),
            Err(error) => {
                error.clone().leave(request);
                Outcome::Error((error.status(), error))
            }
        }
    }
}

#[rocket::async_trait]
impl<'r> FromData<'r> for LongBody {
    type Error = ApiError;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r, LongBody> {
        match read(request, data, limit(request).max(LONG)).await {
            Ok(value) => Outcome::Success(LongBody(value)),
            Err(error) => {
                error.clone().leave(request);
                Outcome::Error((error.status(), error))
            }
        }
    }
}

fn limit(request: &Request<'_>) -> u64 {
    managed::<ApiState>(request).settings.max_body_bytes
}

async fn read(request: &Request<'_>, data: Data<'_>, limit: u64) -> Result<Value, ApiError> {
    let mut stream = data.open(READ_ON.into());
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    let mut too_large = false;
    loop {
        let read = stream.read(&mut chunk).await.map_err(|_| ApiError::bad_request("the body broke off"))?;
        if read == 0 {
            break;
        }
        too_large |= (bytes.len() + read) as u64 > limit;
        match too_large {
            true => bytes.clear(),
            false => bytes.extend_from_slice(&chunk[..read]),
        }
    }
    if too_large {
        return Err(ApiError::new(Status::PayloadTooLarge, format!("the body is larger than {limit} bytes")));
    }
    if let Some(kind) = request.content_type()
        && !(kind.is_json() || kind.sub().as_str().ends_with("+json"))
    {
        return Err(ApiError::new(Status::UnsupportedMediaType, format!("the body must be application/json, not {kind}")));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        // The crate ends its messages with the place, which is told in words of our own.
        let message = error.to_string();
        let what = message.split(" at line ").next().unwrap_or_default();
        ApiError::bad_request(format!("the body is not JSON: {what} (line {}, column {})", error.line(), error.column()))
    })
}
