//! The real binary as a hub with a region, in a folder of its own, on a port of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::driver::free_port;
use crate::http::ask;
use crate::{named, until};

pub const PASSWORD: &str = "correct-horse-battery";

/// A hub; ends with this value.
pub struct Hub {
    child: Child,
    pub port: u16,
    token: String,
    folder: tempfile::TempDir,
}

impl Hub {
    /// `services` is what it finds in its services.json.
    pub fn start(services: &Value) -> Hub {
        Hub::start_with(services, &[])
    }

    /// The same with settings by environment.
    pub fn start_with(services: &Value, settings: &[(&str, &str)]) -> Hub {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("services.json"), services.to_string()).expect("it is written");
        let port = free_port();
        let child = launch(folder.path(), port, settings);
        let mut hub = Hub { child, port, token: String::new(), folder };
        let login = json!({"username": "admin", "password": PASSWORD});
        hub.token = hub.call("POST", "/api/token/", Some(login))["access"].as_str().expect("a token").to_owned();
        hub
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// Starts one that was killed, where it was and with what it has kept.
    pub fn start_again(&mut self) {
        self.child = launch(self.folder.path(), self.port, &[]);
    }

    /// A node of this region joins it; `mesh.listen` must be set.
    pub fn join(&self, region: &str) -> Node {
        let token = self.call("POST", &format!("/api/v1/regions/{region}/tokens"), Some(json!({})));
        Node::start([0, 1].map(|place| token["commands"][place].as_str().expect("it is told")))
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks the API; what it answers must be a success.
    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Content-Type", "application/json")];
        if !self.token.is_empty() {
            headers.push(("Authorization", &bearer));
        }
        let answer = ask(self.port, method, path, &headers, body.as_bytes()).expect("the hub answers");
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }
}

/// A region's node, in a folder of its own; ends with this value.
pub struct Node {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Node {
    /// Types the two commands by which a machine becomes a node, as a hub tells them: to join, and to run.
    pub fn start(commands: [&str; 2]) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let typed = |command: &str| {
            let mut words = command.split_whitespace();
            assert_eq!(words.next(), Some("probemesh"), "{command}");
            let mut typed = Command::new(named("TEST_PROBEMESH"));
            typed.args(words).current_dir(folder.path()).stdin(Stdio::null());
            typed
        };
        let joined = typed(commands[0]).output().expect("it runs");
        assert!(joined.status.success(), "{}{}", String::from_utf8_lossy(&joined.stdout), String::from_utf8_lossy(&joined.stderr));
        let child = typed(commands[1]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the node starts");
        Node { child, _folder: folder }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the binary and waits until it is ready.
fn launch(folder: &Path, port: u16, settings: &[(&str, &str)]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("hub.log")).expect("a log");
    let child = Command::new(named("TEST_PROBEMESH"))
        .current_dir(folder)
        .env("ROCKET_PORT", port.to_string())
        .env("PROBEMESH_ADMIN_PASSWORD", PASSWORD)
        .env("PROBEMESH_API__REQUESTS_PER_MINUTE", "100000")
        .env("PROBEMESH_API__LOGINS_PER_MINUTE", "1000")
        .envs(settings.iter().copied())
        .stdout(Stdio::from(log.try_clone().expect("a second handle")))
        .stderr(Stdio::from(log))
        .spawn()
        .expect("the binary starts");
    until("the hub", || ask(port, "GET", "/readyz", &[], b"").ok().filter(|answer| answer.status == 200));
    child
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("hub.log")).unwrap_or_default();
            eprintln!("the hub's last words:\n{}", log.lines().rev().take(30).collect::<Vec<_>>().join("\n"));
        }
    }
}
