//! Who tries a service for a region: one of its nodes that is connected, rather one that sees than one that is blind.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::hub::membership::Membership;
use crate::model::id::NodeName;
use crate::probe::trial::Trial;
use crate::wire::link::TryOut;

/// Services that may wait to be sent to one node.
pub const WAITING: usize = 16;

/// Where a service is tried for a region.
#[derive(Debug)]
pub enum TriedAt {
    /// In the hub's own process.
    Hub,
    Node {
        node: NodeName,
        answer: oneshot::Receiver<Result<Trial, String>>,
    },
    /// Nowhere, for this reason.
    Nowhere(String),
}

impl Membership {
    /// Sends a service, as JSON, to a node of a region to be tried.
    pub fn try_out(&self, region: &str, document: &Arc<str>) -> TriedAt {
        let inner = self.inner.lock().expect("no holder panics");
        let members: Vec<_> = inner.nodes.iter().filter(|(_, member)| *member.region.0 == *region).collect();
        let live = members.iter().filter_map(|(name, member)| Some((*name, *member, member.live.as_ref()?)));
        let Some((name, member, live)) = live.min_by_key(|(_, member, _)| member.blind()) else {
            let reason = members.iter().filter_map(|(_, member)| member.info.lost_reason.as_deref()).next_back();
            return TriedAt::Nowhere(match (members.is_empty(), reason) {
                (true, _) => format!("there is no region {region}: no node of it has joined"),
                (false, None) => format!("region {region} is not connected"),
                (false, Some(reason)) => format!("region {region} is not connected: {reason}"),
            });
        };
        if member.info.local {
            return TriedAt::Hub;
        }
        let (answer, tried) = oneshot::channel();
        match live.tries.try_send(TryOut { document: document.clone(), answer }) {
            Ok(()) => TriedAt::Node { node: name.clone(), answer: tried },
            Err(_) => TriedAt::Nowhere(format!("node {name} of region {region} is asked to try too many services at once")),
        }
    }

    /// The names of the regions there are, in order.
    pub fn regions(&self) -> Vec<String> {
        let inner = self.inner.lock().expect("no holder panics");
        let mut regions: Vec<String> = inner.nodes.values().map(|member| member.region.to_string()).collect();
        regions.sort();
        regions.dedup();
        regions
    }
}
