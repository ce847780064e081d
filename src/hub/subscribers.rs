//! Wires telling the public: where people subscribe, where their messages leave, and who makes them.

use std::sync::Arc;

use crate::alert::channel::call::Line;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::alerts::Alerting;
use crate::hub::records::Records;
use crate::hub::tree::Tree;
use crate::maintenance::windows::Windows;
use crate::probe::network::BlockedNetworks;
use crate::subscribers::desk::{Desk, DeskArgs};
use crate::subscribers::herald::HeraldArgs;
use crate::subscribers::news::Patience;
use crate::subscribers::post::Post;

/// The desk where people subscribe, and what the herald works with; subscribers are one more way out of `alerting`.
pub fn wire(
    config: &Config,
    records: &Records,
    alerting: &mut Alerting,
    windows: &Arc<Windows>,
    tree: &Tree,
    clock: &Clock,
) -> anyhow::Result<(Arc<Desk>, HeraldArgs)> {
    let blocked =
        BlockedNetworks::parse(&config.channels.blocked_networks).map_err(|entry| anyhow::anyhow!("{entry:?} is not a network"))?;
    let desk = Arc::new(Desk::new(DeskArgs {
        subscribers: records.subscribers.clone(),
        settings: config.status.subscriptions.clone(),
        alerts: records.alerts.clone(),
        channels: records.channels.clone(),
        services: records.services.clone(),
        public_url: config.api.public_url.clone(),
        blocked,
        clock: clock.clone(),
    }));
    alerting.exits = Arc::new(Post {
        channels: alerting.exits.clone(),
        desk: desk.clone(),
        news: records.news.clone(),
        sender: alerting.sender.clone(),
        line: Line::new(config.channels.send_timeout, desk.wall(), "status.private_webhooks", clock.clone())?,
        title: config.status.title.clone(),
        clock: clock.clone(),
    });
    let herald = HeraldArgs {
        desk: desk.clone(),
        news: records.news.clone(),
        alerts: records.alerts.clone(),
        incidents: records.incidents.clone(),
        windows: windows.clone(),
        patience: Patience { hold: config.alerts.hold, settle: config.alerts.settle },
        give_up: config.alerts.give_up,
        title: config.status.title.clone(),
        clock: clock.clone(),
        status: tree.alerts.herald.clone(),
    };
    Ok((desk, herald))
}
