//! The demo's name server: every name it knows is this machine, and each takes as long as its service's plan says.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::UdpSocket;

use crate::demo::servers::Stage;
use crate::supervise::Task;

/// The folder, so to speak, that all names of the demo are in; `.test` is no one's by agreement (RFC 6761).
pub const DOMAIN: &str = "demo.test";

const HEADER: usize = 12;
const TYPE_A: u16 = 1;

pub async fn serve(stage: Arc<Stage>) -> anyhow::Result<(SocketAddr, Task)> {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.context("no port for a name server")?);
    let address = socket.local_addr()?;
    let task = Task::spawn(async move {
        let mut buffer = [0u8; 1500];
        loop {
            // A client that went away shows as an error here, and is no reason to end.
            let Ok((length, asker)) = socket.recv_from(&mut buffer).await else { continue };
            let Some((name, answer)) = answer(&buffer[..length], |name| stage.service(name).is_some()) else { continue };
            let (socket, stage) = (socket.clone(), stage.clone());
            tokio::spawn(async move {
                if let Some(index) = stage.service(&name) {
                    stage.pause_resolving(index).await;
                }
                let _ = socket.send_to(&answer, asker).await;
            });
        }
    });
    Ok((address, task))
}

/// The first label of the name that is asked for, and the answer: this machine, of a name that is known and asked for by IPv4;
/// nothing, of another kind of record; else that there is no such name (RFC 1035, section 4). `None`: it is no question.
fn answer(question: &[u8], knows: impl Fn(&str) -> bool) -> Option<(String, Vec<u8>)> {
    let header = question.get(..HEADER)?;
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase()),
            // A question is not compressed.
            _ => return None,
        }
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let asked = question.get(HEADER..at + 4)?;
    let name = labels.first().cloned().unwrap_or_default();
    let known = labels.get(1..).is_some_and(|rest| rest.join(".") == DOMAIN) && knows(&name);
    let gives = known && kind == TYPE_A;
    let mut reply = Vec::with_capacity(asked.len() + 32);
    reply.extend_from_slice(&header[..2]);
    // An answer, by one who may give it, recursion asked for and offered; code 3: there is no such name.
    reply.extend_from_slice(&[0x85, if known { 0x80 } else { 0x83 }]);
    reply.extend_from_slice(&[0, 1, 0, u8::from(gives), 0, 0, 0, 0]);
    reply.extend_from_slice(asked);
    if gives {
        // The name is that of the question, class IN, not to be kept, four bytes.
        reply.extend_from_slice(&[0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some((name, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn a_known_name_is_this_machine_and_others_are_not_there() {
        let knows = |name: &str| name == "search";
        let (name, reply) = answer(&question("Search.demo.test", 1), knows).unwrap();
        assert_eq!((name.as_str(), &reply[..4], &reply[reply.len() - 4..]), ("search", &[7, 9, 0x85, 0x80][..], &[127, 0, 0, 1][..]));
        let (_, none) = answer(&question("search.demo.test", 28), knows).unwrap();
        assert_eq!((none[3], none[7]), (0x80, 0), "it is there and has no such record");
        for unknown in ["other.demo.test", "search.example.test", "search"] {
            assert_eq!(answer(&question(unknown, 1), knows).unwrap().1[3], 0x83, "{unknown}");
        }
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let whole = question("search.demo.test", 1);
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length], |_| true), None, "{length} bytes");
        }
        assert_eq!(answer(&[0xff; 40], |_| true), None);
    }
}
