//! Links that are there and do not work, and peers that are no nodes: others do not notice, and the link is replaced.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::ledger::{hold_against, stored};
use crate::line::Mode;
use crate::world::{PATIENCE, World, count, node, signal};

/// How often a node has linked.
async fn sessions(world: &mut World, name: &str) -> u64 {
    node(&world.get("api/v1/nodes").await, name).unwrap()["sessions"].as_u64().unwrap()
}

#[tokio::test]
async fn a_link_that_stalls_or_works_one_way_only_is_replaced_and_nobody_else_notices() {
    let mut world = World::start(&["ap-1", "eu-1"]).await;
    let ids = world.add_load(5, 1.0).await;
    world.region_status(ids[0], "eu", "up").await;
    for mode in [Mode::Stalled, Mode::UpOnly, Mode::DownOnly] {
        world.line("eu-1").set(mode);
        let lost = world.linked("eu-1", "lost").await;
        world.line("eu-1").set(Mode::Open);
        let back = world.linked("eu-1", "connected").await;
        world.tell(&format!("{mode:?}: lost after {lost:.2?}, back {back:.2?} after the line was mended"));
        world.region_status(ids[0], "eu", "up").await;
    }
    // A process that does not run.
    signal(world.pid("eu-1"), libc::SIGSTOP);
    let lost = world.linked("eu-1", "lost").await;
    signal(world.pid("eu-1"), libc::SIGCONT);
    let back = world.linked("eu-1", "connected").await;
    world.tell(&format!("stopped: lost after {lost:.2?}, back {back:.2?} after it went on"));
    assert_eq!(sessions(&mut world, "ap-1").await, 1, "the other node's link stood all the while");
    world.end();
    let results = stored(&world.hub_folder()).await;
    hold_against(&results, &world.target.asked(), &[], 5);
}

#[tokio::test]
async fn a_hub_that_stood_still_is_found_again_and_misses_nothing() {
    let mut world = World::start(&["ap-1", "eu-1"]).await;
    let ids = world.add_load(5, 1.0).await;
    for region in ["ap", "eu"] {
        world.region_status(ids[4], region, "up").await;
    }
    let hub = world.hub.as_ref().unwrap().pid() as i32;
    signal(hub, libc::SIGSTOP);
    for name in ["ap-1", "eu-1"] {
        let began = std::time::Instant::now();
        while !world.console(name).contains("no link to the hub") {
            assert!(began.elapsed() < PATIENCE, "{}", world.console(name));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    world.tell("both nodes say that the hub is silent");
    signal(hub, libc::SIGCONT);
    let mut took = Duration::ZERO;
    for name in ["ap-1", "eu-1"] {
        took += world
            .until(&format!("{name} has a new link"), "api/v1/nodes", |nodes| {
                let node = node(nodes, name)?;
                (node["link"] == "connected" && node["sessions"].as_u64()? >= 2).then_some(())
            })
            .await
            .1;
    }
    world.tell(&format!("both are linked anew {took:.2?} after it went on"));
    assert!(world.incidents().await.is_empty());
    world.end();
    let results = stored(&world.hub_folder()).await;
    hold_against(&results, &world.target.asked(), &[], 5);
}

/// Connects from another address of this machine.
async fn from(last: u8, port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.ok()
}

#[tokio::test]
async fn three_hundred_peers_that_say_nothing_or_garbage_keep_no_node_out() {
    let mut world = World::start(&["ap-1", "eu-1"]).await;
    let port = world.mesh_port;
    // From the nodes' own address, and from ten others, so that all places are taken.
    let mut silent = Vec::new();
    for peer in 0..300usize {
        silent.extend(from(1 + (peer % 11) as u8, port).await);
    }
    world.tell(&format!("{} connections say nothing", silent.len()));
    let dripping = tokio::spawn(async move {
        loop {
            for (peer, stream) in silent.iter_mut().enumerate() {
                // One that was closed is opened again.
                if stream.write_all(&[0x16]).await.is_err()
                    && let Some(another) = from(1 + (peer % 11) as u8, port).await
                {
                    *stream = another;
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    for _ in 0..20 {
        let Some(mut stream) = from(8, port).await else { continue };
        let _ = stream.write_all(&[0xA5; 4096]).await;
    }
    // A node that has to come again meanwhile does.
    world.line("eu-1").set(Mode::Cut);
    world.linked("eu-1", "lost").await;
    world.line("eu-1").set(Mode::Open);
    let back = world.linked("eu-1", "connected").await;
    world.tell(&format!("a node that was cut off is back {back:.2?} after its line was mended"));
    world.add_node("us-1");
    let joined = world.linked("us-1", "connected").await;
    world.tell(&format!("a new node has joined {joined:.2?} after it was started"));
    dripping.abort();
    assert_eq!(sessions(&mut world, "ap-1").await, 1);
    let turned_away = count(&mut world, "doorman", "refused").await;
    assert!(turned_away >= 40, "the hub counts {turned_away} refused");
    world.tell(&format!("the hub counts {turned_away} refused"));
    world.end();
}
