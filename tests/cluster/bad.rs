//! What comes in and should not: papers that are wrong, nodes that lie, frames that are none. Each is refused with its
//! reason on both sides, and counted; the hub and the other nodes are unharmed.

use std::time::Duration;

use probemesh::clock::Clock;
use probemesh::mesh::authority::Authority;
use probemesh::mesh::gateway::GatewayMsg;
use probemesh::mesh::node_files::{Grant, NodeFiles, Renewal};
use probemesh::mesh::stream::introduce;
use probemesh::model::id::Boot;
use probemesh::wire::batch::{BatchHead, encode};
use probemesh::wire::envelope::{Bytes, FRAME_AT_MOST, Up, frames};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::binary::{free_port, run};
use crate::rogue::{Rogue, connect, papers};
use crate::world::{PATIENCE, World, count, node};

/// Until the hub has said so.
async fn hub_says(world: &World, words: &str) {
    let began = std::time::Instant::now();
    while !world.hub.as_ref().unwrap().console().contains(words) {
        if began.elapsed() > PATIENCE {
            world.show_consoles();
            panic!("the hub does not say {words:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.tell(&format!("the hub says: {words}"));
}

/// Until a node has said so.
async fn node_says(world: &World, name: &str, words: &str) {
    let began = std::time::Instant::now();
    while !world.console(name).contains(words) {
        if began.elapsed() > PATIENCE {
            world.show_consoles();
            panic!("{name} does not say {words:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.tell(&format!("{name} says: {words}"));
}

/// The real node beside all this has had one link the whole time.
async fn undisturbed(world: &mut World, name: &str) {
    let nodes = world.get("api/v1/nodes").await;
    let found = node(&nodes, name).unwrap();
    assert_eq!((found["link"].as_str(), found["sessions"].as_u64()), (Some("connected"), Some(1)), "{found:#}");
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn a_wrong_or_revoked_token_and_a_wrong_secret_open_nothing_and_the_reason_is_told() {
    let mut world = World::start(&["us-1"]).await;
    let (code, said) = world.command(&["region-token", "eu", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let token: Value = serde_json::from_str(&said).unwrap();
    let line = token["token"].as_str().unwrap();
    let place = world.make_place("eu-1");
    let mangled = format!("{}AAAA", &line[..line.len() - 4]);
    let wrong = run(&place, free_port(), &["join", &mangled, "--name", "eu-1"]);
    assert!(!wrong.status.success(), "{}", text(&wrong));
    world.tell(text(&wrong).trim());
    let (code, said) = world.command(&["region-token", "--revoke", token["id"].as_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let ended = run(&place, free_port(), &["join", line, "--name", "eu-1"]);
    assert!(!ended.status.success(), "{}", text(&ended));
    world.tell(text(&ended).trim());
    assert!(!place.join("regions/eu.toml").exists(), "a join that failed leaves nothing behind");
    let rejoined = world.command(&["region-token", "eu"]).1;
    let joined = run(&place, free_port(), &["join", rejoined.lines().next().unwrap(), "--name", "us-1"]);
    assert!(!joined.status.success(), "a name that is taken, and lives, is not given twice: {}", text(&joined));
    world.tell(text(&joined).trim());
    // A node with another secret tries on, and says why it is not let in.
    world.add_node("ap-1");
    world.linked("ap-1", "connected").await;
    world.kill_node("ap-1");
    std::fs::remove_dir_all(world.nodes["ap-1"].folder.join("data")).unwrap();
    world.start_node_with("ap-1", "another-secret-than-the-hubs");
    node_says(&world, "ap-1", "cannot join yet").await;
    world.tell(world.console("ap-1").lines().find(|line| line.contains("cannot join yet")).unwrap());
    world.kill_node("ap-1");
    undisturbed(&mut world, "us-1").await;
    world.end();
}

#[tokio::test]
async fn a_node_that_is_revoked_is_cut_off_at_once_and_not_let_in_again() {
    let mut world = World::start(&["eu-1", "us-1"]).await;
    let began = std::time::Instant::now();
    let (code, said) = world.command(&["node", "revoke", "eu-1"]);
    assert_eq!(code, Some(0), "{said}");
    node_says(&world, "eu-1", "hub ended the session: the node was revoked").await;
    world.tell(&format!("cut off {:.2?} after the command began", began.elapsed()));
    node_says(&world, "eu-1", "hub refuses this node: node eu-1 of region eu was revoked").await;
    hub_says(&world, "node eu-1 of region eu was revoked").await;
    assert!(node(&world.get("api/v1/nodes").await, "eu-1").is_none_or(|node| node["link"] == "lost"));
    undisturbed(&mut world, "us-1").await;
    // Its secret does not help it.
    world.kill_node("eu-1");
    let place = world.nodes["eu-1"].folder.clone();
    let _ = std::fs::remove_dir_all(place.join("data"));
    world.start_node("eu-1");
    node_says(&world, "eu-1", "cannot join yet").await;
    world.kill_node("eu-1");
    undisturbed(&mut world, "us-1").await;
    world.end();
}

#[tokio::test]
async fn papers_of_another_authority_and_names_of_others_are_refused_before_the_hand_over() {
    let mut world = World::start(&["eu-1", "us-1"]).await;
    let port = world.mesh_port;
    let eu = papers(&world.nodes["eu-1"].folder, "eu");
    // The papers of a real node, and another's name: as the greeting, and as the carrier's name.
    let mut stream = connect(port, eu.client_config()).await.unwrap();
    let refused = introduce(&mut stream, "us-1").await.unwrap_err();
    assert!(refused.contains("calls itself us-1, its certificate says eu-1"), "{refused}");
    hub_says(&world, "it calls itself us-1, its certificate says eu-1").await;
    let mut stream = connect(port, eu.client_config()).await.unwrap();
    introduce(&mut stream, "eu-1").await.unwrap();
    let wrap = |bytes: &[u8]| [&[0x0A, bytes.len() as u8], bytes].concat();
    let body = wrap(&wrap(&wrap(b"us-1@us-1")));
    stream.write_all(&[&(body.len() as u64).to_be_bytes()[..], &body].concat()).await.unwrap();
    stream.flush().await.unwrap();
    let began = std::time::Instant::now();
    while world.hub.as_ref().unwrap().console().matches("it calls itself us-1, its certificate says eu-1").count() < 2 {
        assert!(began.elapsed() < PATIENCE, "{}", world.hub.as_ref().unwrap().console());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A first frame larger than any.
    let mut stream = connect(port, eu.client_config()).await.unwrap();
    introduce(&mut stream, "eu-1").await.unwrap();
    stream.write_all(&u64::MAX.to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    hub_says(&world, "first frame has 18446744073709551615 bytes").await;
    // Papers for the same name, of another hub.
    let other = tempfile::tempdir().unwrap();
    let now = Clock::real().now();
    let authority = Authority::open(&other.path().join("authority"), now).unwrap();
    let request = Renewal::new(eu.identity());
    let issued = authority.issue(&request.csr_pem, eu.identity(), now).unwrap();
    let grant = |authority_pem: &str| Grant {
        certificate_pem: issued.pem.clone(),
        authority_pem: authority_pem.to_owned(),
        cookie: eu.cookie.clone(),
    };
    let strange = NodeFiles::new(other.path(), &eu.hub, &request.key_pem, &grant(authority.certificate_pem())).unwrap();
    let refused = connect(port, strange.client_config()).await.unwrap_err();
    world.tell(&format!("a node that trusts another authority says: {refused}"));
    let strange = NodeFiles::new(other.path(), &eu.hub, &request.key_pem, &grant(eu.authority_pem())).unwrap();
    // With TLS 1.3 a client hears of it with its first read.
    let mut stream = connect(port, strange.client_config()).await.unwrap();
    let refused = introduce(&mut stream, "eu-1").await.unwrap_err();
    world.tell(&format!("a node of another authority hears: {refused}"));
    hub_says(&world, "TLS handshake failed").await;
    assert!(count(&mut world, "doorman", "refused").await >= 5);
    undisturbed(&mut world, "us-1").await;
    undisturbed(&mut world, "eu-1").await;
    world.end();
}

#[tokio::test]
async fn a_node_that_breaks_the_protocol_loses_its_session_and_nobody_else_notices() {
    let mut world = World::start(&["eu-1", "us-1"]).await;
    let port = world.mesh_port;
    let process = world.nodes.get_mut("eu-1").unwrap().process.take().unwrap();
    assert!(process.end().0.success());
    let eu = papers(&world.nodes["eu-1"].folder, "eu");

    let rogue = Rogue::connect(port, &eu).await;
    rogue.hello("us-1", "us");
    rogue.ended().await;
    hub_says(&world, "node says it is us-1 of region us, its certificate says eu-1 of region eu").await;

    let rogue = Rogue::connect(port, &eu).await;
    rogue.hello("eu-1", "us");
    rogue.ended().await;
    hub_says(&world, "node says it is eu-1 of region us, its certificate says eu-1 of region eu").await;

    let rogue = Rogue::connect(port, &eu).await;
    rogue.hello("eu-1", "eu");
    world.linked("eu-1", "connected").await;
    rogue.say(9, &Up::Pong { sent_us: 0, received_us: 0, replied_us: 0 });
    rogue.ended().await;
    hub_says(&world, "frame has version 9, 1 was agreed on").await;

    let rogue = Rogue::connect(port, &eu).await;
    rogue.hello("eu-1", "eu");
    world.linked("eu-1", "connected").await;
    let mut garbage = frames(1, &rogue.token, &Up::Goodbye).remove(0);
    garbage.extend([0xFF; 64]);
    garbage[22] = 0xFF;
    rogue.send(garbage);
    rogue.ended().await;
    hub_says(&world, "message cannot be read").await;

    // A batch in another's name.
    let rogue = Rogue::connect(port, &eu).await;
    rogue.hello("eu-1", "eu");
    world.linked("eu-1", "connected").await;
    let batch = encode(&BatchHead::new(&"us-1".into(), &"us".into(), Boot(1), 1, 0), &[]);
    rogue.say(1, &Up::Deliver { delivery: 1, batches: vec![Bytes(batch)] });
    rogue.ended().await;
    hub_says(&world, "node sends a batch of node us-1 of region us").await;

    // Frames without the session's token, or too large for any, belong to nobody: they change nothing and are counted.
    let rogue = Rogue::connect(port, &eu).await;
    rogue.hello("eu-1", "eu");
    world.linked("eu-1", "connected").await;
    let stray = count(&mut world, "gateway", "stray_frames").await;
    for frame in frames(1, &[7; 16], &Up::Goodbye) {
        rogue.send(frame);
    }
    rogue.send(vec![1; 10]);
    rogue.send(vec![1; FRAME_AT_MOST + 1]);
    let began = std::time::Instant::now();
    while count(&mut world, "gateway", "stray_frames").await < stray + 3 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A flood: far more than what may be under way.
    for _ in 0..50_000 {
        let _ = rogue.gateway.cast(GatewayMsg::Frame(frames(1, &rogue.token, &Up::Goodbye).remove(0)[..].to_vec()));
    }
    rogue.ended().await;
    world.tell("a flood ends the session it comes from");

    assert!(count(&mut world, "doorman", "violations").await >= 5);
    undisturbed(&mut world, "us-1").await;
    // The real node comes again as if nothing had been.
    world.start_node("eu-1");
    world.linked("eu-1", "connected").await;
    let service = world.add_load(1, 1.0).await[0];
    for region in ["eu", "us"] {
        world.region_status(service, region, "up").await;
    }
    world.end();
}
