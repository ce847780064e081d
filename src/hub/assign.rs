//! Makes services ready to be given to nodes, whenever one of them changed; the membership shares them out.
//!
//! A nudge carries nothing; what to assign is read from the services as they are, so a lost nudge costs a delay.

use std::sync::{Arc, Mutex};

use tracing::{debug, error};
use url::Url;

use crate::aggregate::board::Board;
use crate::clock::Clock;
use crate::config::service::{ServiceDocument, TlsDocument};
use crate::hub::membership::{Assignable, Membership};
use crate::model::service::{Schedule, Service};
use crate::store::services::Services;

pub struct Assigner {
    pub services: Arc<Services>,
    pub board: Arc<Board>,
    pub default_schedule: Schedule,
    /// The hub's own address, for services whose `base_url` is `self`.
    pub hub_url: Url,
    pub membership: Arc<Membership>,
    pub clock: Clock,
    /// Held while services are read and sent: what is read later is sent later.
    pub turn: Mutex<()>,
}

impl Assigner {
    /// Reads the services as they are, shows them on the board and has them shared out.
    pub fn assign(&self) {
        let _turn = self.turn.lock().expect("no holder panics");
        let mut checked: Vec<Service> = Vec::new();
        let mut assigned = Vec::new();
        for stored in self.services.list().iter() {
            match stored.document.check(stored.id, &self.default_schedule) {
                Ok(service) => checked.push(service),
                Err(mistakes) => {
                    let cause = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    error!(service = stored.id.0, cause, "stored service cannot be read, it is not checked");
                    continue;
                }
            }
            let assignable = self.assignable(&stored.document);
            assigned.push(Assignable {
                id: stored.id,
                revision: stored.revision,
                document: serde_json::to_string(&assignable).expect("a document always encodes").into(),
                enabled: stored.enabled(),
                regions: assignable.regions,
            });
        }
        self.board.replace_services(&checked, self.clock.now());
        self.membership.set_services(assigned);
        debug!(services = checked.len(), "services assigned");
    }

    /// The document as a node needs it: the schedule filled in, the hub's own address in place of `self`.
    fn assignable(&self, document: &ServiceDocument) -> ServiceDocument {
        let mut document = document.clone();
        if document.interval_s.is_none() && document.cron.is_none() {
            match &self.default_schedule {
                Schedule::Interval(interval) => document.interval_s = Some(interval.as_secs_f64()),
                Schedule::Cron { expression, zone, spread, .. } => {
                    document.cron = Some(expression.to_string());
                    document.timezone = document.timezone.or_else(|| Some(zone.name().to_owned()));
                    document.spread_s = document.spread_s.or(spread.map(|spread| spread.as_secs_f64()));
                }
            }
        }
        if document.base_url.as_deref() == Some("self") {
            document.base_url = Some(self.hub_url.to_string());
            document.regions = Some(vec!["local".to_owned()]);
            if self.hub_url.scheme() == "https" {
                // The certificate is for the public name, not for loopback, and the process asks itself.
                document.tls.get_or_insert_with(TlsDocument::default).insecure_skip_verify = Some(true);
            }
        }
        document
    }
}
