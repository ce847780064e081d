//! One check of a service that is not stored yet, made by the hub's own process, so that whoever writes it sees what would come.

use std::sync::Arc;

use anyhow::Context;

use crate::api::state::TryCheck;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::own_url;
use crate::model::id::{Boot, CheckId, NodeName, RegionName};
use crate::probe::{CheckOrder, Probes};

/// What the check says of where it was made.
const PLACE: &str = "hub";

/// With probes of its own: nothing it learns, names and tokens above all, is used by the checks that count.
pub fn checker(config: &Config, clock: &Clock) -> anyhow::Result<TryCheck> {
    let probes = Arc::new(Probes::new(&config.region.probe, clock.clone()).context("probes cannot be made")?);
    let (hub_url, clock) = (own_url(config)?, clock.clone());
    Ok(Arc::new(move |service| {
        let (probes, hub_url, now) = (probes.clone(), hub_url.clone(), clock.now());
        Box::pin(async move {
            let id = CheckId { node: NodeName::from(PLACE), boot: Boot(now.0.unsigned_abs() / 1000), seq: 1 };
            let order = CheckOrder { id, region: RegionName::from(PLACE), scheduled_at: now, hub_url: Some(hub_url) };
            probes.check(&service, order).await
        })
    }))
}
