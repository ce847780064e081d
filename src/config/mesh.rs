//! The section of the mesh: where a hub listens for nodes, where a node finds its hub, and how soon either takes the other for lost.

use std::net::SocketAddr;

use crate::config::reader::{Reader, Unit};
use crate::config::sections::MeshSettings;
use crate::config::sources::Role;

/// The port nodes find a hub at where none is named.
const PORT: u16 = 4697;

pub fn mesh(reader: &mut Reader, role: &Role) -> MeshSettings {
    let hub_role = *role == Role::Hub;
    let listen = if hub_role { listen(reader) } else { None };
    let address = if hub_role { place(reader, "mesh.address") } else { None };
    let hub = if hub_role { None } else { place(reader, "mesh.hub") };
    let join_secret = reader.text("mesh.join_secret");
    if join_secret.as_ref().is_some_and(|secret| secret.chars().count() < 16) {
        reader.wrong("mesh.join_secret", "must have at least 16 characters");
    }
    let heartbeat = reader.span("mesh.heartbeat_s", Unit::Seconds, 2.0, 0.1..=60.0);
    let deadline = reader.span("mesh.deadline_s", Unit::Seconds, 8.0, 0.3..=600.0);
    if deadline < heartbeat.mul_f64(2.0) {
        reader.wrong("mesh.deadline_s", "must be at least twice mesh.heartbeat_s");
    }
    MeshSettings {
        listen,
        address,
        hub,
        join_secret,
        heartbeat,
        deadline,
        catch_up_bytes_per_s: reader.whole("mesh.catch_up_bytes_per_s", 4 << 20, 1 << 14..=1 << 34),
    }
}

/// `off`, a port, or an address with its port.
fn listen(reader: &mut Reader) -> Option<SocketAddr> {
    let text = reader.text("mesh.listen")?;
    if text == "off" {
        return None;
    }
    let parsed = text.parse::<SocketAddr>().ok().or_else(|| text.parse::<u16>().ok().map(|port| SocketAddr::from(([0, 0, 0, 0], port))));
    if parsed.is_none() {
        reader.wrong("mesh.listen", format!("{text:?} is not an address with its port, such as \"0.0.0.0:{PORT}\", nor \"off\""));
    }
    parsed
}

/// A host with its port, as a node dials it; the port may be left out.
fn place(reader: &mut Reader, path: &'static str) -> Option<String> {
    let text = reader.text(path)?;
    let address = host_and_port(&text);
    if address.is_none() {
        reader.wrong(path, format!("{text:?} is not a host with its port, such as \"hub.example.com:{PORT}\""));
    }
    address
}

/// `host:port` of a text that may leave out the port.
pub fn host_and_port(text: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host.to_owned(), Some(port.to_owned())),
        _ => (text.to_owned(), None),
    };
    let port = port.map_or(Some(PORT), |port| port.parse::<u16>().ok().filter(|port| *port > 0));
    let good = !host.is_empty() && !host.contains(|letter: char| letter.is_whitespace() || "/@?#".contains(letter));
    port.filter(|_| good).map(|port| format!("{host}:{port}"))
}
