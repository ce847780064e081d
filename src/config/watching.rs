//! Who tells when something is wrong with the monitor itself: a node's witnesses, what it says when its hub is lost, and the
//! address a hub calls as long as it works.
//!
//! Nothing here has a default that calls anyone: only what a person names is called. Addresses are not repeated in messages,
//! since those of such services are often secrets.

use url::Url;

use crate::config::reader::{Reader, Unit};
use crate::config::sections::{HeartbeatSettings, HubLostSettings, WitnessSettings};
use crate::config::sources::Role;

/// More than these tell nothing new.
const WITNESSES: usize = 10;

pub fn witness(reader: &mut Reader) -> WitnessSettings {
    let urls = reader.list("witness.urls");
    if urls.len() > WITNESSES {
        reader.wrong("witness.urls", format!("holds {} witnesses, {WITNESSES} at most make sense", urls.len()));
    }
    let mut places = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        match place(url) {
            Ok(place) if places.contains(&place) => reader.wrong(&format!("witness.urls[{index}]"), format!("{place} is named twice")),
            Ok(place) => places.push(place),
            Err(message) => reader.wrong(&format!("witness.urls[{index}]"), message),
        }
    }
    WitnessSettings {
        places,
        interval: reader.span("witness.interval_s", Unit::Seconds, 5.0, 0.5..=3_600.0),
        timeout: reader.span("witness.timeout_s", Unit::Seconds, 2.0, 0.1..=60.0),
        blind_after: reader.whole("witness.blind_after", 2, 1..=100) as u32,
    }
}

/// `host:port` of a witness: of `http` and `https` the port may be left out, and what stands behind it does not matter.
fn place(text: &str) -> Result<String, String> {
    let example = "\"tcp://192.0.2.1:443\" or \"https://example.com\"";
    let url = Url::parse(text).map_err(|err| format!("is not the URL of a witness, such as {example}: {err}"))?;
    if !matches!(url.scheme(), "tcp" | "http" | "https") {
        return Err(format!("{:?} is not a scheme of a witness; use tcp, http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password: a witness is only connected to".to_owned());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("names no host; it looks like {example}"))?;
    let port = url.port_or_known_default().filter(|port| *port > 0).ok_or_else(|| format!("names no port; it looks like {example}"))?;
    Ok(format!("{host}:{port}"))
}

/// Only a node elsewhere can lose its hub.
pub fn hub_lost(reader: &mut Reader, role: &Role) -> HubLostSettings {
    if *role == Role::Hub {
        return HubLostSettings::default();
    }
    HubLostSettings {
        url: web_address(reader, "hub_lost.url"),
        after: reader.span("hub_lost.after_s", Unit::Seconds, 120.0, 1.0..=86_400.0),
    }
}

pub fn heartbeat(reader: &mut Reader) -> HeartbeatSettings {
    HeartbeatSettings {
        url: web_address(reader, "hub.heartbeat_url"),
        interval: reader.span("hub.heartbeat_interval_s", Unit::Seconds, 60.0, 1.0..=86_400.0),
        fail: reader.flag("hub.heartbeat_fail", false),
    }
}

fn web_address(reader: &mut Reader, path: &'static str) -> Option<Url> {
    let text = reader.text(path)?;
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    if url.is_none() {
        reader.wrong(path, "is not an http or https URL");
    }
    url
}
