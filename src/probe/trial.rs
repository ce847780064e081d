//! One check of a service that is not kept yet, so that whoever writes it sees what would come. Nothing of it is stored.
//!
//! It is made with probes of its own: nothing it learns, names and tokens above all, is used by the checks that count.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use tokio::sync::{OnceCell, Semaphore};
use url::Url;

use crate::clock::Clock;
use crate::config::sections::ProbeSettings;
use crate::model::check::CheckResult;
use crate::model::id::{Boot, CheckId, NodeName, RegionName};
use crate::model::service::Service;
use crate::probe::expect::Verdict;
use crate::probe::{CheckOrder, Probes};

/// Services tried at once; more are refused, so that trying takes nothing from the checks that count.
const AT_ONCE: usize = 8;

/// What a service that was tried did.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    pub result: CheckResult,
    /// Each expectation, in order; none where no answer came.
    pub verdicts: Vec<Verdict>,
}

/// Tries services in this process.
pub struct Trier {
    settings: ProbeSettings,
    node: NodeName,
    /// The hub's own address, where this is the hub.
    hub_url: Option<Url>,
    clock: Clock,
    /// Made when the first service is tried: most processes never try one.
    probes: OnceCell<Probes>,
    permits: Semaphore,
    seq: AtomicU64,
}

impl Trier {
    pub fn new(settings: ProbeSettings, node: NodeName, hub_url: Option<Url>, clock: Clock) -> Trier {
        let (probes, permits) = (OnceCell::new(), Semaphore::new(AT_ONCE));
        Trier { settings, node, hub_url, clock, probes, permits, seq: AtomicU64::new(0) }
    }

    /// One attempt, as for this region; or why none could be made.
    pub async fn try_out(&self, mut service: Service, region: RegionName) -> Result<Trial, String> {
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(format!("{} tries {AT_ONCE} services already; try again in a moment", self.node));
        };
        let make = || async { Probes::new(&self.settings, self.clock.clone()).map_err(|err| format!("probes cannot be made: {err}")) };
        let probes = self.probes.get_or_try_init(make).await?;
        service.retries = 0;
        let now = self.clock.now();
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let id = CheckId { node: self.node.clone(), boot: Boot(now.0.unsigned_abs() / 1000), seq };
        let order = CheckOrder { id, region, scheduled_at: now, hub_url: self.hub_url.clone() };
        let checked = AssertUnwindSafe(probes.check_verbosely(&service, order)).catch_unwind().await;
        let (result, verdicts) = checked.map_err(|_| "the check ended before its time".to_owned())?;
        Ok(Trial { result, verdicts })
    }
}
