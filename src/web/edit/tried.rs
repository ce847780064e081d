//! What came of trying a service, one block for each place it was tried from.

use std::time::Duration;

use crate::api::trying::{Places, Tried};
use crate::web::service::checks::CheckRow;
use crate::web::text::Text;

pub struct TriedPart {
    pub title: &'static str,
    pub blocks: Vec<Block>,
}

pub struct Block {
    /// The region; `None` where the hub alone tried it.
    pub region: Option<String>,
    pub check: Option<CheckRow>,
    pub expectations: Vec<Expectation>,
    /// Why it could not be tried there.
    pub refused: Option<String>,
}

pub struct Expectation {
    pub what: String,
    /// What came instead.
    pub message: Option<String>,
}

impl TriedPart {
    /// `limit`: what takes longer is slow.
    pub fn new(t: Text, places: &Places, tried: Vec<Tried>, limit: Option<Duration>) -> TriedPart {
        let by_hub = *places == Places::Hub;
        let block = |one: Tried| {
            let region = (!by_hub).then_some(one.place);
            match one.outcome {
                Ok(trial) => Block {
                    region,
                    check: Some(CheckRow { open: true, ..CheckRow::new(t, &trial.result, limit) }),
                    expectations: trial
                        .verdicts
                        .into_iter()
                        .map(|verdict| Expectation { what: verdict.what, message: verdict.failure.map(|failure| failure.message) })
                        .collect(),
                    refused: None,
                },
                Err(reason) => Block { region, check: None, expectations: Vec::new(), refused: Some(reason) },
            }
        };
        TriedPart { title: t.s(if by_hub { "edit.tried" } else { "edit.tried_regions" }), blocks: tried.into_iter().map(block).collect() }
    }
}
