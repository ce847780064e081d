//! The real binary as a process: started in a folder of its own, asked over its port, ended or killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub const PASSWORD: &str = "correct-horse-battery";

pub fn program() -> Command {
    // Another build of it may be named, such as an optimised one.
    let named = std::env::var_os("TEST_PROBEMESH");
    let mut command = Command::new(named.as_deref().unwrap_or(env!("CARGO_BIN_EXE_probemesh").as_ref()));
    for (name, _) in std::env::vars() {
        if ["PROBEMESH_", "ROCKET_", "OPENAI_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("PROBEMESH_ADMIN_PASSWORD", PASSWORD);
    // It ends with the thread that started it: a test that fails leaves nothing behind.
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        // SAFETY: a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            })
        };
    }
    command
}

/// A port nobody listens on, nor will by chance: it lies below those the system gives out (32768 to 60999 on Linux), and a
/// process gets each once.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 200) as u16 * 100;
    let mut ports = std::iter::from_fn(|| Some(10_000 + (start + GIVEN.fetch_add(1, Ordering::Relaxed)) % 20_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

pub struct Binary {
    child: Child,
    pub port: u16,
    pub console: Arc<Mutex<String>>,
    client: reqwest::Client,
    token: Option<String>,
}

impl Binary {
    /// Starts it and waits until it listens.
    pub async fn start(folder: &Path, port: u16) -> Binary {
        let mut binary = Binary::launch(folder, port, &[]);
        binary.listening().await;
        binary
    }

    pub fn launch(folder: &Path, port: u16, settings: &[(&str, &str)]) -> Binary {
        Binary::launch_as(&[], folder, port, settings)
    }

    pub fn launch_as(arguments: &[&str], folder: &Path, port: u16, settings: &[(&str, &str)]) -> Binary {
        let mut command = program();
        command.args(arguments).current_dir(folder).env("ROCKET_PORT", port.to_string()).envs(settings.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let console = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let console = console.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut console = console.lock().unwrap();
                    console.push_str(&line);
                    console.push('\n');
                }
            });
        }
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Binary { child, port, console, client, token: None }
    }

    pub async fn listening(&mut self) {
        let began = Instant::now();
        while !self.client.get(self.url("healthz")).send().await.is_ok_and(|answer| answer.status().is_success()) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", self.console());
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it does not listen:\n{}", self.console());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn console(&self) -> String {
        self.console.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub async fn token(&mut self) -> String {
        if self.token.is_none() {
            let body = json!({"username": "admin", "password": PASSWORD}).to_string();
            let answer =
                self.client.post(self.url("api/token/")).header("content-type", "application/json").body(body).send().await.unwrap();
            let tokens: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            self.token = Some(tokens["access"].as_str().unwrap_or_else(|| panic!("no token in {tokens}")).to_owned());
        }
        self.token.clone().unwrap()
    }

    pub async fn ask(&mut self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let token = self.token().await;
        let mut request = self.client.request(method.parse().unwrap(), self.url(path)).bearer_auth(token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    pub async fn get(&mut self, path: &str) -> Value {
        let (status, value) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; how it ended and what it had said.
    pub fn end(mut self) -> (ExitStatus, Duration, String) {
        let began = Instant::now();
        // SAFETY: a plain call; the process is ours and has not been waited for.
        unsafe { libc::kill(self.pid() as i32, libc::SIGTERM) };
        let status = self.child.wait().unwrap();
        (status, began.elapsed(), self.console())
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end.
pub fn run(folder: &Path, port: u16, arguments: &[&str]) -> Output {
    program().current_dir(folder).env("ROCKET_PORT", port.to_string()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A target that answers at once and remembers which checks asked.
pub struct Witness {
    pub port: u16,
    /// (boot, seq) → how often its first attempt came.
    pub asked: Arc<Mutex<HashMap<(u64, u64), u32>>>,
}

impl Witness {
    pub fn start() -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<HashMap<(u64, u64), u32>>> = Arc::default();
        let noted = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = noted.clone();
                std::thread::Builder::new().stack_size(128 << 10).spawn(move || answer(stream, &noted)).unwrap();
            }
        });
        Witness { port, asked }
    }
}

fn answer(mut stream: TcpStream, asked: &Mutex<HashMap<(u64, u64), u32>>) {
    let mut buffer = [0u8; 4096];
    let mut filled = 0;
    while !buffer[..filled].windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
    }
    let head = String::from_utf8_lossy(&buffer[..filled]).to_lowercase();
    if let Some(value) = head.lines().find_map(|line| line.strip_prefix("x-probemesh-check:")) {
        let parts: Vec<&str> = value.trim().split('/').collect();
        if let [_, boot, seq, "1"] = parts[..] {
            *asked.lock().unwrap().entry((boot.parse().unwrap(), seq.parse().unwrap())).or_insert(0) += 1;
        }
    }
    let reply: &[u8] = match head.split(' ').nth(1) {
        Some("/fail") => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfull",
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
    };
    let _ = stream.write_all(reply);
}
