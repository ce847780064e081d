//! The word of a hub that works: heard by a real server, at a rhythm moved by hand.

use std::time::Duration;

use probemesh::caller::Caller;
use url::Url;

use crate::target::{Reply, Target};
use crate::world::World;

fn paths(target: &Target) -> Vec<String> {
    target.asked().into_iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_works_calls_and_one_whose_store_is_gone_does_not() {
    let silent = Target::plain(|_| Reply::text(200, "OK")).await;
    let saying = Target::plain(|_| Reply::text(200, "OK")).await;
    let settings = |target: &Target| format!("{}/ping/secret", target.url("http", "127.0.0.1"));
    let quiet = World::with(&[("PROBEMESH_HUB__HEARTBEAT_URL", &settings(&silent))]).await;
    let loud = World::with(&[("PROBEMESH_HUB__HEARTBEAT_URL", &settings(&saying)), ("PROBEMESH_HUB__HEARTBEAT_FAIL", "true")]).await;
    let step = Duration::from_millis(500);
    for (world, target) in [(&quiet, &silent), (&loud, &saying)] {
        let began = world.clock.steady();
        world.until(step, "three calls", async |_| (target.asked().len() >= 3).then_some(())).await;
        let took = world.clock.steady() - began;
        assert!(took >= Duration::from_secs(115), "three calls within {took:?}");
        let tree = world.get("/api/v1/cluster").await.to_string();
        assert!(tree.contains(r#""name":"heartbeat","state":"running""#) && !tree.contains("secret"), "{tree}");
    }
    // The first world's clock stood still meanwhile: it has called no more than before.
    assert_eq!(paths(&silent), ["GET /ping/secret"; 3]);
    for world in [&quiet, &loud] {
        world.hub.store.shutdown().await.unwrap();
    }
    let status = |world: &World| world.hub.tree.heartbeat.as_ref().unwrap().lock().unwrap().clone();
    for world in [&quiet, &loud] {
        for _ in 0..400 {
            world.clock.advance(step).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let error = status(world).last_error.unwrap();
        assert!(error.starts_with("hub does not work: ") && error.contains("store is closed"), "{error}");
    }
    assert_eq!(paths(&silent).len(), 3, "it called though its store is closed");
    assert_eq!(paths(&saying)[..3], ["GET /ping/secret"; 3]);
    let said = &paths(&saying)[3..];
    assert!((3..=5).contains(&said.len()) && said.iter().all(|path| path == "GET /ping/secret/fail"), "{said:?}");
    assert_eq!(status(&loud).fails, said.len() as u64);
}

#[tokio::test]
async fn a_call_is_led_to_no_other_host_and_a_post_nowhere() {
    let other = Target::plain(|_| Reply::text(200, "OK")).await;
    let elsewhere = format!("{}/", other.url("http", "localhost"));
    let leading = Target::plain(move |asked| match asked.path.as_str() {
        "/here" => Reply::redirect(307, "/there"),
        "/away" => Reply::redirect(302, elsewhere.clone()),
        "/round" => Reply::redirect(302, "/round"),
        "/there" => Reply::text(204, ""),
        _ => Reply::text(500, ""),
    })
    .await;
    let caller = Caller::new().unwrap();
    let url = |path: &str| Url::parse(&format!("{}{path}", leading.url("http", "127.0.0.1"))).unwrap();
    assert_eq!(caller.get(&url("/here")).await, Ok(()));
    assert_eq!(caller.get(&url("/broken")).await, Err("answered 500".to_owned()));
    assert_eq!(caller.post(&url("/here"), "{}".to_owned()).await, Err("answered 307".to_owned()));
    for (path, reason) in [("/away", "it leads to another host"), ("/round", "it leads on and on")] {
        let said = caller.get(&url(path)).await.unwrap_err();
        assert!(said.contains(reason) && !said.contains(path), "{said}");
    }
    assert!(other.asked().is_empty(), "the other host was called");
}
