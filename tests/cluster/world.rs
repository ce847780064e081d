//! A hub and its nodes as processes, each in a folder of its own, each node behind a line that can be broken.
//!
//! One world at a time: the machine that runs the tests is small, and what is measured is the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::binary::{Binary, free_port, run};
use crate::line::Line;
use crate::long;
use crate::target::Target;

pub const JOIN_SECRET: &str = "a-join-secret-of-the-cluster-tests";
/// A limit for what is waited for; what takes that long is broken and not slow.
pub const PATIENCE: Duration = Duration::from_secs(180);

static TURN: Mutex<()> = Mutex::const_new(());

/// For as long as it is held no other test of this program runs.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

pub struct World {
    pub folder: tempfile::TempDir,
    pub target: Target,
    pub hub: Option<Binary>,
    pub nodes: BTreeMap<String, Node>,
    pub mesh_port: u16,
    http_port: u16,
    /// A silent node is lost after so long.
    pub deadline_s: f64,
    began: Instant,
    _turn: MutexGuard<'static, ()>,
}

pub struct Node {
    pub folder: PathBuf,
    pub region: String,
    pub line: Line,
    pub process: Option<Binary>,
}

impl World {
    /// A hub, and a node for each name: `eu-1` is of region `eu`.
    pub async fn start(nodes: &[&str]) -> World {
        let turn = turn().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("hub")).unwrap();
        std::fs::write(folder.path().join("hub/services.json"), "[]").unwrap();
        let (mesh_port, http_port) = (free_port(), free_port());
        // Under the load of a long run it is as people have it; a short one is not to wait for it.
        let (heartbeat_s, deadline_s) = if long() { (2.0, 8.0) } else { (0.3, 1.5) };
        // In the file, so that commands beside the hub know it, too.
        let settings = format!(
            "[mesh]\nlisten = \"127.0.0.1:{mesh_port}\"\naddress = \"127.0.0.1:{mesh_port}\"\njoin_secret = \"{JOIN_SECRET}\"\n\
             heartbeat_s = {heartbeat_s}\ndeadline_s = {deadline_s}\n\n[api]\nrequests_per_minute = 100000\n"
        );
        std::fs::write(folder.path().join("hub/Rocket.toml"), settings).unwrap();
        let mut world = World {
            folder,
            target: Target::start(),
            hub: None,
            nodes: BTreeMap::new(),
            mesh_port,
            http_port,
            deadline_s,
            began: Instant::now(),
            _turn: turn,
        };
        world.start_hub().await;
        for name in nodes {
            world.add_node(name);
        }
        for name in nodes {
            world.linked(name, "connected").await;
        }
        world.tell(&format!("a hub and {} nodes stand", nodes.len()));
        world
    }

    /// What a person who watches is told.
    pub fn tell(&self, text: &str) {
        println!("{:7.2} s  {text}", self.began.elapsed().as_secs_f64());
    }

    pub fn hub_folder(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    pub async fn start_hub(&mut self) {
        let mut hub = Binary::launch_as(&["hub"], &self.hub_folder(), self.http_port, &[]);
        hub.listening().await;
        self.hub = Some(hub);
    }

    /// Starts a node that joins by the secret.
    pub fn add_node(&mut self, name: &str) {
        self.add_node_with(name, "");
    }

    /// `settings` are lines for the section of the mesh.
    pub fn add_node_with(&mut self, name: &str, settings: &str) {
        let folder = self.make_place(name);
        let (region, line) = (region_of(name), Line::to(self.mesh_port));
        std::fs::create_dir_all(folder.join("regions")).unwrap();
        let hub = format!("127.0.0.1:{}", line.port);
        write_region_file(&folder, &region, name, &hub, settings);
        self.nodes.insert(name.to_owned(), Node { folder, region, line, process: None });
        self.start_node(name);
    }

    pub fn make_place(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    pub fn start_node(&mut self, name: &str) {
        self.start_node_with(name, JOIN_SECRET);
    }

    pub fn start_node_with(&mut self, name: &str, secret: &str) {
        let node = self.nodes.get_mut(name).unwrap();
        let file = format!("regions/{}.toml", node.region);
        let settings = [("PROBEMESH_JOIN_SECRET", secret)];
        let process = Binary::launch_as(&["region", "--config", &file], &node.folder, free_port(), &settings);
        node.process = Some(process);
    }

    /// Runs a command of the hub's machine.
    pub fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = run(&self.hub_folder(), self.http_port, arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }

    pub fn kill_hub(&mut self) {
        self.hub.take().unwrap().kill();
    }

    pub fn kill_node(&mut self, name: &str) {
        self.nodes.get_mut(name).unwrap().process.take().unwrap().kill();
    }

    pub fn line(&self, name: &str) -> &Line {
        &self.nodes[name].line
    }

    pub fn console(&self, name: &str) -> String {
        self.nodes[name].process.as_ref().map(Binary::console).unwrap_or_default()
    }

    pub fn pid(&self, name: &str) -> i32 {
        self.nodes[name].process.as_ref().unwrap().pid() as i32
    }

    pub async fn get(&mut self, path: &str) -> Value {
        self.hub.as_mut().expect("the hub runs").get(path).await
    }

    pub async fn ask(&mut self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.hub.as_mut().expect("the hub runs").ask(method, path, Some(body)).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Adds a service; its id.
    pub async fn add(&mut self, service: Value) -> u64 {
        self.ask("POST", "api/monitor/services/", service).await["id"].as_u64().unwrap()
    }

    /// Adds so many services of the target, each checked every `interval_s` seconds.
    pub async fn add_load(&mut self, services: usize, interval_s: f64) -> Vec<u64> {
        let mut ids = Vec::new();
        for index in 0..services {
            let service = json!({"name": format!("load {index}"), "base_url": self.target.url(), "interval_s": interval_s, "retries": 0});
            ids.push(self.add(service).await);
        }
        ids
    }

    /// Asks until `found` says so; how long it took.
    pub async fn until<T>(&mut self, what: &str, path: &str, mut found: impl FnMut(&Value) -> Option<T>) -> (T, Duration) {
        let began = Instant::now();
        loop {
            let value = self.get(path).await;
            if let Some(found) = found(&value) {
                return (found, began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                self.show_consoles();
                panic!("not within {PATIENCE:?}: {what}\n{value:#}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until the hub says so of a node's link; how long it took.
    pub async fn linked(&mut self, name: &str, link: &str) -> Duration {
        let found = |nodes: &Value| (node(nodes, name)?["link"] == link).then_some(());
        self.until(&format!("{name} is {link}"), "api/v1/nodes", found).await.1
    }

    /// Until the summary tells this verdict of a service; how long it took.
    pub async fn verdict(&mut self, service: u64, verdict: &str) -> Duration {
        let found = |summary: &Value| (of_service(summary, service)?["verdict"] == verdict).then_some(());
        self.until(&format!("service {service} is {verdict}"), "api/monitor/health/summary/", found).await.1
    }

    /// What a region thinks of a service.
    pub async fn region_status(&mut self, service: u64, region: &str, status: &str) -> Duration {
        let found = |summary: &Value| {
            let regions = of_service(summary, service)?["regions"].as_array()?;
            regions.iter().any(|seen| seen["region"] == region && seen["status"] == status).then_some(())
        };
        self.until(&format!("{region} finds service {service} {status}"), "api/monitor/health/summary/", found).await.1
    }

    pub async fn incidents(&mut self) -> Vec<Value> {
        self.get("api/v1/incidents/?page_size=500").await["results"].as_array().unwrap().clone()
    }

    /// Ends all, nodes first: then the hub has every check made. Its store stays in the folder.
    pub fn end(&mut self) {
        for (name, node) in &mut self.nodes {
            if let Some(process) = node.process.take() {
                let (status, took, console) = process.end();
                assert!(status.success(), "{name} ended with {status}\n{console}");
                assert!(took < Duration::from_secs(60), "{name} took {took:?} to end");
                assert!(console.contains("ended: the hub has every check made"), "{name}:\n{}", tail(&console));
            }
        }
        if let Some(hub) = self.hub.take() {
            let (status, _, console) = hub.end();
            assert!(status.success(), "the hub ended with {status}\n{}", tail(&console));
        }
    }

    pub fn show_consoles(&self) {
        if let Some(hub) = &self.hub {
            println!("==== hub\n{}", tail(&hub.console()));
        }
        for (name, node) in &self.nodes {
            println!("==== {name}\n{}", tail(&node.process.as_ref().map(Binary::console).unwrap_or_default()));
        }
    }
}

pub fn region_of(node: &str) -> String {
    node.rsplit_once('-').unwrap().0.to_owned()
}

fn write_region_file(folder: &Path, region: &str, node: &str, hub: &str, settings: &str) {
    let text = format!("[region]\nname = \"{region}\"\nnode = \"{node}\"\n\n[mesh]\nhub = \"{hub}\"\n{settings}\n");
    std::fs::write(folder.join(format!("regions/{region}.toml")), text).unwrap();
}

pub fn node<'a>(nodes: &'a Value, name: &str) -> Option<&'a Value> {
    nodes["results"].as_array()?.iter().find(|node| node["name"] == name)
}

pub fn of_service(summary: &Value, service: u64) -> Option<&Value> {
    summary["services"].as_array()?.iter().find(|known| known["service_id"] == service)
}

/// A count of an actor of the hub's mesh.
pub async fn count(world: &mut World, actor: &str, figure: &str) -> u64 {
    let tree = world.get("api/v1/cluster").await;
    fn find<'a>(value: &'a Value, actor: &str) -> Option<&'a Value> {
        match value {
            Value::Object(fields) if fields.get("name").is_some_and(|name| name == actor) => Some(value),
            Value::Object(fields) => fields.values().find_map(|value| find(value, actor)),
            Value::Array(values) => values.iter().find_map(|value| find(value, actor)),
            _ => None,
        }
    }
    find(&tree["nodes"][0], actor)
        .and_then(|found| found["figures"][figure].as_u64())
        .unwrap_or_else(|| panic!("no {actor} {figure}: {tree:#}"))
}

/// The end of what a process said.
pub fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().filter(|line| !line.contains("api request")).collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Sends a signal to a process of the test.
pub fn signal(pid: i32, signal: i32) {
    // SAFETY: a plain call; the process is one the test started and has not waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}
