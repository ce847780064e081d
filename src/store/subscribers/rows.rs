//! Subscribers as rows: what is sealed, and the rest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::id::ServiceId;
use crate::model::subscriber::{Choice, Pending, Subscriber, SubscriberId, SubscriberKind};
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::values::corrupt;

#[derive(Serialize, Deserialize)]
struct SealedRow {
    reach: String,
    secret: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct DataRow {
    choice: ChoiceRow,
    created_at: i64,
    confirmed_at: Option<i64>,
    suspended_at: Option<i64>,
    failures: u32,
    last_error: Option<String>,
    pending: Option<PendingRow>,
    leave_print: String,
}

#[derive(Serialize, Deserialize)]
struct ChoiceRow {
    services: Option<Vec<u32>>,
    lang: String,
}

#[derive(Serialize, Deserialize)]
struct PendingRow {
    choice: ChoiceRow,
    asked_at: i64,
    asked: u32,
    print: String,
}

pub fn sealed_of(subscriber: &Subscriber) -> Vec<u8> {
    let row = SealedRow { reach: subscriber.reach.clone(), secret: subscriber.secret.clone() };
    serde_json::to_vec(&row).expect("plain text always encodes")
}

pub fn data_of(subscriber: &Subscriber) -> String {
    let row = DataRow {
        choice: ChoiceRow::from(&subscriber.choice),
        created_at: subscriber.created_at.0,
        confirmed_at: subscriber.confirmed_at.map(|at| at.0),
        suspended_at: subscriber.suspended_at.map(|at| at.0),
        failures: subscriber.failures,
        last_error: subscriber.last_error.clone(),
        pending: subscriber.pending.as_ref().map(|pending| PendingRow {
            choice: ChoiceRow::from(&pending.choice),
            asked_at: pending.asked_at.0,
            asked: pending.asked,
            print: pending.print.clone(),
        }),
        leave_print: subscriber.leave_print.clone(),
    };
    serde_json::to_string(&row).expect("plain text and numbers always encode")
}

/// `clear` is what was sealed.
pub fn read(id: SubscriberId, kind: &str, clear: &[u8], data: &str) -> Result<Subscriber, StoreError> {
    let kind = SubscriberKind::from_name(kind).ok_or_else(|| corrupt("subscriber", format!("its kind is {kind:?}")))?;
    // What cannot be read is not repeated: it may be an address.
    let SealedRow { reach, secret } =
        serde_json::from_slice(clear).map_err(|_| corrupt("subscriber", format!("what is sealed of {id} is not what it should be")))?;
    let data: DataRow = serde_json::from_str(data).map_err(|error| corrupt("subscriber", error))?;
    Ok(Subscriber {
        id,
        kind,
        reach,
        secret,
        choice: Choice::from(data.choice),
        created_at: Timestamp(data.created_at),
        confirmed_at: data.confirmed_at.map(Timestamp),
        suspended_at: data.suspended_at.map(Timestamp),
        failures: data.failures,
        last_error: data.last_error,
        pending: data.pending.map(|row| Pending {
            choice: Choice::from(row.choice),
            asked_at: Timestamp(row.asked_at),
            asked: row.asked,
            print: row.print,
        }),
        leave_print: data.leave_print,
    })
}

/// What its secrets are sealed for.
pub fn place(id: SubscriberId) -> String {
    format!("subscriber:{id}")
}

impl From<&Choice> for ChoiceRow {
    fn from(choice: &Choice) -> ChoiceRow {
        let services = choice.services.as_ref().map(|services| services.iter().map(|service| service.0).collect());
        ChoiceRow { services, lang: choice.lang.clone() }
    }
}

impl From<ChoiceRow> for Choice {
    fn from(row: ChoiceRow) -> Choice {
        let services = row.services.map(|services| services.into_iter().map(ServiceId).collect::<BTreeSet<_>>());
        Choice { services, lang: row.lang }
    }
}
