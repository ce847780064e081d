//! A real SurrealDB server as a process, and a line to it that can be slowed, silenced and cut.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use probemesh::config::sections::StoreSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::binary::free_port;

pub const USER: &str = "root";
pub const PASSWORD: &str = "test-password";

/// The server's program; built on first need, where nobody has done so before.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("TEST_SURREAL_SERVER") {
            return PathBuf::from(path);
        }
        // This program is <target>/<profile>/deps/it-….
        let own = std::env::current_exe().unwrap();
        let target = own.ancestors().nth(3).expect("tests lie below the target folder").to_owned();
        let path = target.join("debug/probemesh-surreal-server");
        if !path.exists() {
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/surreal-server/Cargo.toml");
            let build = format!("cargo build --locked --manifest-path {} --target-dir {}", manifest.display(), target.display());
            eprintln!("the SurrealDB server of the tests is built, which takes minutes: {build}");
            let mut words = build.split(' ');
            let built = Command::new(words.next().unwrap()).args(words).status();
            assert!(built.is_ok_and(|status| status.success()), "there is no SurrealDB server to test against; build it with: {build}");
        }
        path
    })
}

/// One server. It ends with this, and with the test program however that ends.
pub struct Server {
    child: Mutex<Option<Child>>,
    port: u16,
    storage: String,
    extra: Vec<String>,
    pub console: Arc<Mutex<String>>,
}

impl Server {
    /// `storage` as the server takes it: `memory` or `surrealkv://…`.
    pub fn start(storage: &str) -> Server {
        Server::with(storage, &[])
    }

    pub fn with(storage: &str, extra: &[&str]) -> Server {
        let extra = extra.iter().map(|word| (*word).to_owned()).collect();
        let server = Server { child: Mutex::new(None), port: free_port(), storage: storage.to_owned(), extra, console: Arc::default() };
        server.start_again();
        server
    }

    /// After `kill`: the same data on the same port.
    pub fn start_again(&self) {
        self.start_with_password(PASSWORD);
    }

    pub fn start_with_password(&self, password: &str) {
        let mut command = Command::new(program());
        let bind = format!("127.0.0.1:{}", self.port);
        command.args(["start", "--user", USER, "--pass", password, "--bind", &bind, "--no-banner", "--log", "warn"]);
        command.args(&self.extra).arg(&self.storage);
        // Held for as long as this lives: the server ends when it is closed.
        command.env("END_WITH_STDIN", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pipes: [Box<dyn std::io::Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let console = self.console.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    console.lock().unwrap().push_str(&format!("{line}\n"));
                }
            });
        }
        *self.child.lock().unwrap() = Some(child);
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(60), "{ended:?}:\n{}", self.console.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGSTOP or SIGCONT: it is there and answers nothing, or goes on.
    pub fn signal(&self, signal: i32) {
        let id = self.child.lock().unwrap().as_ref().expect("it runs").id();
        // SAFETY: a plain call; the process is ours and has not been waited for.
        unsafe { libc::kill(id as i32, signal) };
        // Its threads are stopped one after the other; until then one of them may still answer.
        let began = Instant::now();
        while signal == libc::SIGSTOP && !stopped(id) {
            assert!(began.elapsed() < Duration::from_secs(10), "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A database of its own on the server all tests of this program share.
pub fn shared_url() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static DATABASES: AtomicUsize = AtomicUsize::new(0);
    let server = SERVER.get_or_init(|| Server::start("memory"));
    format!("{}/test/d{}", server.url(), DATABASES.fetch_add(1, Ordering::Relaxed))
}

/// The same settings, on a server.
pub fn on_server(settings: StoreSettings, url: &str) -> StoreSettings {
    StoreSettings { url: Some(url.to_owned()), username: Some(USER.to_owned()), password: Some(PASSWORD.to_owned()), ..settings }
}

/// How a line treats what crosses it.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Pass,
    /// Each piece, in both directions, takes so long.
    Slow(Duration),
    /// What the server says is held back; what it is told arrives.
    Deaf,
    /// Nothing crosses, and nobody is told.
    Silent,
    /// Who comes is sent away at once, and who is there is cut off.
    Cut,
    /// Where the server says the one, it is heard as the other, of the same length.
    Alter(&'static [u8], &'static [u8]),
}

/// A line between the hub and a server.
pub struct Line {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Connections made before it rose treat everything as `Silent` for ever: links that are half open.
    frozen: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
    /// Connections over which something was asked.
    pub used: Arc<AtomicU64>,
    threads: Option<tokio::runtime::Runtime>,
}

impl Line {
    pub fn to(server: SocketAddr) -> Line {
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mode = watch::Sender::new(Mode::Pass);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (frozen, taken, used): (Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let (modes, ice, count, asked) = (mode.clone(), frozen.clone(), taken.clone(), used.clone());
        threads.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                let (mode, frozen, asked) = (modes.subscribe(), ice.clone(), asked.clone());
                tokio::spawn(async move {
                    if *mode.borrow() == Mode::Cut {
                        return;
                    }
                    let Ok(upstream) = TcpStream::connect(server).await else { return };
                    // One that only looks whether anybody is there says nothing.
                    if client.peek(&mut [0]).await.is_ok_and(|count| count > 0) {
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), upstream.into_split());
                    let thawed = move || frozen.load(Ordering::Relaxed) < number;
                    tokio::select! {
                        () = carry(from_client, to_server, mode.clone(), thawed.clone(), false) => {}
                        () = carry(from_server, to_client, mode.clone(), thawed, true) => {}
                        () = cut(mode) => {}
                    }
                });
            }
        });
        Line { address, mode, frozen, taken, used, threads: Some(threads) }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// All connections there are stay open and never carry anything again; new ones do.
    pub fn freeze_those_there_are(&self) {
        self.frozen.store(self.taken.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Whether every thread of a process is stopped, by /proc.
fn stopped(id: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
    let state = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    };
    threads.flatten().all(|thread| state(thread).is_none_or(|state| state == 'T'))
}

impl Drop for Line {
    fn drop(&mut self) {
        // Waiting for a runtime is not allowed in a test that is one itself.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

async fn cut(mut mode: watch::Receiver<Mode>) {
    if mode.wait_for(|mode| *mode == Mode::Cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    thawed: impl Fn() -> bool,
    answers: bool,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(count) = from.read(&mut buffer).await else { return };
        if count == 0 {
            return;
        }
        if !thawed() {
            std::future::pending::<()>().await;
        }
        let held = |mode: &Mode| *mode == Mode::Silent || (answers && *mode == Mode::Deaf);
        let now = match mode.wait_for(|mode| !held(mode)).await {
            Ok(mode) => mode.clone(),
            Err(_) => return,
        };
        match now {
            Mode::Slow(delay) => tokio::time::sleep(delay).await,
            Mode::Alter(one, other) if answers => {
                for at in 0..(count + 1).saturating_sub(one.len()) {
                    if &buffer[at..at + one.len()] == one {
                        buffer[at..at + one.len()].copy_from_slice(other);
                    }
                }
            }
            _ => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
