//! Whom to ask for a check now: the node of each region that checks the service.

use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::hub::membership::Membership;
use crate::model::id::{RegionName, ServiceId};
use crate::wire::link::{Asked, CheckNow};

impl Membership {
    /// Asks for a check of a service now, all its regions but `except`. Where it is watched, each tells how far it has come.
    pub fn check_now(&self, service: ServiceId, except: Option<&RegionName>, watched: bool) -> Vec<Asked> {
        let inner = self.inner.lock().expect("no holder panics");
        let Some(assignable) = inner.services.iter().find(|known| known.id == service) else { return Vec::new() };
        let mut asked = Vec::new();
        for (region, node) in inner.owners(assignable) {
            if except == Some(region) {
                continue;
            }
            let Some(live) = inner.nodes.get(node).and_then(|member| member.live.as_ref()) else { continue };
            let (answer, result) = oneshot::channel();
            let (watcher, progress) = watched.then(|| watch::channel(None)).unzip();
            match live.requests.try_send(CheckNow { service, answer, watcher }) {
                Ok(()) => asked.push(Asked { region: region.clone(), node: node.clone(), result, progress }),
                Err(_) => warn!(service = service.0, node = %node, "node is asked for too many checks at once, this one is left out"),
            }
        }
        asked
    }
}
