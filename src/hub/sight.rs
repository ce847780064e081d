//! Whether the region of the hub's own process sees, told to the membership at once. Nodes elsewhere say so over their links.

use std::sync::Arc;

use crate::hub::membership::Membership;
use crate::region::RegionView;
use crate::supervise::Task;

pub fn watch(region: RegionView, membership: Arc<Membership>) -> Task {
    let mut sight = region.shared.sight.subscribe();
    Task::spawn(async move {
        while sight.changed().await.is_ok() {
            let node = &region.shared.settings.node;
            if let Some(session) = membership.session_of(node) {
                membership.heard_status(node, session, region.node_status());
            }
        }
    })
}
