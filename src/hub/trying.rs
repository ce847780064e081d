//! A service that is not stored yet is tried by the hub's own process, too.

use std::sync::Arc;

use crate::api::state::TryCheck;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::own_url;
use crate::model::id::NodeName;
use crate::probe::trial::Trier;

/// Who made the check, where the hub did.
const NODE: &str = "hub";

pub fn checker(config: &Config, clock: &Clock) -> anyhow::Result<TryCheck> {
    let trier = Trier::new(config.region.probe.clone(), NodeName::from(NODE), Some(own_url(config)?), clock.clone());
    let trier = Arc::new(trier);
    Ok(Arc::new(move |service, region| {
        let trier = trier.clone();
        Box::pin(async move { trier.try_out(service, region).await })
    }))
}
