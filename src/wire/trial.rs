//! What a service that was tried did, as it crosses from node to hub.

use serde::{Deserialize, Serialize};

use crate::model::check::CheckResult;
use crate::probe::expect::Verdict;
use crate::probe::trial::Trial;
use crate::wire::batch::{BatchError, WireFailure};
use crate::wire::envelope::Bytes;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WireTrial {
    /// As a batch of one, which is not stored.
    pub result: Bytes,
    pub verdicts: Vec<WireVerdict>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireVerdict {
    pub what: String,
    pub failure: Option<WireFailure>,
}

impl WireTrial {
    /// `pack` makes a batch of the result.
    pub fn new(trial: &Trial, pack: impl FnOnce(&CheckResult) -> Vec<u8>) -> WireTrial {
        let verdict = |verdict: &Verdict| WireVerdict { what: verdict.what.clone(), failure: verdict.failure.as_ref().map(Into::into) };
        WireTrial { result: Bytes(pack(&trial.result)), verdicts: trial.verdicts.iter().map(verdict).collect() }
    }

    /// The verdicts again; the result is read as any batch is.
    pub fn verdicts(&self) -> Result<Vec<Verdict>, BatchError> {
        let verdict =
            |wire: &WireVerdict| Ok(Verdict { what: wire.what.clone(), failure: wire.failure.clone().map(TryInto::try_into).transpose()? });
        self.verdicts.iter().map(verdict).collect()
    }
}
