//! The processes of a benchmark: starting them, reading what they use, asking the monitor.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

pub const PASSWORD: &str = "bench-password-1";

/// A target in a process of its own.
pub struct Target {
    child: Child,
    pub port: u16,
}

/// For each check (node, boot, seq): how often its first attempt was asked.
pub type Asked = HashMap<(String, u64, u64), u32>;

impl Target {
    pub fn start(certificate: Option<(&Path, &Path)>) -> anyhow::Result<Target> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("target");
        if let Some((certificate, key)) = certificate {
            command.arg(certificate).arg(key);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("target cannot be started")?;
        let mut line = String::new();
        // Read byte by byte: what follows the first line must stay in the pipe.
        let out = child.stdout.as_mut().context("piped")?;
        let mut byte = [0u8; 1];
        while out.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(byte[0] as char);
        }
        Ok(Target { port: line.trim().parse().context("target's port")?, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and takes its log.
    pub fn finish(mut self) -> anyhow::Result<Asked> {
        drop(self.child.stdin.take());
        let mut asked = Asked::new();
        let out = BufReader::new(self.child.stdout.take().context("piped")?);
        for line in out.lines() {
            let line = line?;
            let mut parts = line.rsplitn(4, ' ');
            let (Some(times), Some(seq), Some(boot), Some(node)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
                bail!("target's log has the line {line:?}")
            };
            asked.insert((node.to_owned(), boot.parse()?, seq.parse()?), times.parse()?);
        }
        self.child.wait()?;
        Ok(asked)
    }
}

/// The monitor as a user would run it.
pub struct Monitor {
    child: Child,
    folder: PathBuf,
    port: u16,
    token: Option<String>,
    client: reqwest::Client,
}

impl Monitor {
    pub async fn start(folder: &Path, port: u16, settings: &[(&str, &str)]) -> anyhow::Result<Monitor> {
        Monitor::start_as(&[], folder, port, settings).await
    }

    pub async fn start_as(arguments: &[&str], folder: &Path, port: u16, settings: &[(&str, &str)]) -> anyhow::Result<Monitor> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("console.log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_probemesh"))
            .args(arguments)
            .current_dir(folder)
            .env("ROCKET_PORT", port.to_string())
            .env("PROBEMESH_ADMIN_PASSWORD", PASSWORD)
            .env("PROBEMESH_API__REQUESTS_PER_MINUTE", "100000")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("monitor cannot be started")?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let mut monitor = Monitor { child, folder: folder.to_owned(), port, token: None, client };
        let began = Instant::now();
        loop {
            if monitor.client.get(monitor.url("healthz")).send().await.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            if let Some(status) = monitor.child.try_wait()? {
                bail!("monitor ended with {status}; see {}", monitor.folder.join("console.log").display());
            }
            if began.elapsed() > Duration::from_secs(60) {
                bail!("monitor does not answer; see {}", monitor.folder.join("console.log").display());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(monitor)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let text = self.get_text(path).await?;
        serde_json::from_str(&text).with_context(|| format!("answer to {path}"))
    }

    pub async fn get_text(&mut self, path: &str) -> anyhow::Result<String> {
        let request = self.client.get(self.url(path));
        self.send(path, request).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<String> {
        let request = self.client.post(self.url(path)).header("content-type", "application/json").body(body.to_string());
        self.send(path, request).await
    }

    async fn send(&mut self, path: &str, request: reqwest::RequestBuilder) -> anyhow::Result<String> {
        if self.token.is_none() {
            let body = json!({"username": "admin", "password": PASSWORD}).to_string();
            let answer = self.client.post(self.url("api/token/")).header("content-type", "application/json").body(body).send().await?;
            let tokens: Value = serde_json::from_str(&answer.text().await?)?;
            self.token = Some(tokens["access"].as_str().context("no token")?.to_owned());
        }
        let token = self.token.as_deref().unwrap_or_default();
        let answer = request.bearer_auth(token).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path}: {status} {text}");
        }
        Ok(text)
    }

    /// kill -9.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and how long it took to end.
    pub fn end(mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        // SAFETY: a plain call; the process is ours and has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let status = self.child.wait()?;
        if !status.success() {
            bail!("monitor ended with {status}; see {}", self.folder.join("console.log").display());
        }
        Ok(began.elapsed())
    }
}

impl Drop for Monitor {
    /// One that was neither killed nor ended, as after an error, does not stay behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds a process has used, user and system.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Resident memory in MiB: now and at its highest.
pub fn rss_mib(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or("");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (field("VmRSS"), field("VmHWM"))
}

pub fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// CPU time of all cores since boot: what the host of a virtual machine took away, and the whole, in ticks.
pub fn stolen() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> =
        stat.lines().next().unwrap_or("").split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse().ok()).collect();
    (ticks.get(7).copied().unwrap_or(0.0), ticks.iter().sum())
}

/// The share of CPU time the host has taken away since.
pub fn stolen_since((taken, whole): (f64, f64)) -> f64 {
    let now = stolen();
    (now.0 - taken) / (now.1 - whole).max(1.0)
}

/// A port nobody listens on.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::File::create(path)?.write_all(text.as_bytes())?;
    Ok(())
}

/// Bytes below a folder.
pub fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
