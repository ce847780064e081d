//! The part of the section of alerts that says how channels send.

use crate::config::load::is_network;
use crate::config::reader::{Reader, Unit};
use crate::config::sections::ChannelSettings;

pub fn channels(reader: &mut Reader) -> ChannelSettings {
    let blocked_networks = reader.list("alerts.blocked_networks");
    for (index, network) in blocked_networks.iter().enumerate().filter(|(_, network)| !is_network(network)) {
        let message = format!("{network:?} is not a network such as 169.254.0.0/16 or fe80::/10");
        reader.wrong(&format!("alerts.blocked_networks[{index}]"), message);
    }
    ChannelSettings {
        send_timeout: reader.span("alerts.send_timeout_s", Unit::Seconds, 10.0, 0.1..=300.0),
        allow_commands: reader.flag("alerts.allow_commands", false),
        blocked_networks,
    }
}
