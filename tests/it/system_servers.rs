//! Real servers to depend on: Redis, PostgreSQL and MariaDB from Debian's packages, each in a folder of its own that goes with it; and
//! those that are no servers at all. There is no MongoDB among Debian's packages: what stands for it speaks its wire protocol, as much
//! of it as a driver's first minute takes (`hello`, SCRAM-SHA-256, `ping`, `buildInfo`), with bytes put together here.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::binary::free_port;

/// A process in a folder of its own.
pub struct RealServer {
    pub port: u16,
    child: Child,
    /// How it is told to end in good order.
    signal: i32,
    _folder: tempfile::TempDir,
}

impl Drop for RealServer {
    fn drop(&mut self) {
        // SAFETY: a plain call; the process is ours and has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, self.signal) };
        let _ = self.child.wait();
    }
}

/// As this user where the tests run as root: some servers refuse to be root.
fn as_user<'a>(command: &'a mut Command, user: &str) -> &'a mut Command {
    // SAFETY: plain system calls, allowed between fork and exec.
    if unsafe { libc::getuid() } == 0 {
        let id = |flag: &str| -> u32 {
            let output = Command::new("id").args([flag, user]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap_or_else(|_| panic!("there is no user {user}"))
        };
        command.uid(id("-u")).gid(id("-g"));
    }
    // SAFETY: as above.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        })
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn give(folder: &Path, user: &str) {
    // SAFETY: a plain system call.
    if unsafe { libc::getuid() } == 0 {
        assert!(Command::new("chown").args(["-R", user]).arg(folder).status().unwrap().success());
    }
}

fn wait_for(port: u16, child: &mut Child) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(60), "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn redis(password: Option<&str>) -> RealServer {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).arg("--dir").arg(folder.path());
    command.args(password.iter().flat_map(|password| ["--requirepass", password]));
    // Its folder is its own user's.
    give(folder.path(), "redis");
    let mut child = as_user(&mut command, "redis").spawn().unwrap();
    wait_for(port, &mut child);
    RealServer { port, child, signal: libc::SIGTERM, _folder: folder }
}

/// With a user `postgres` of this password.
pub fn postgresql(password: &str) -> RealServer {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let programs =
        std::fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed").flatten().map(|entry| entry.path().join("bin"));
    let programs = programs.filter(|bin| bin.join("initdb").exists()).max().expect("postgresql is installed");
    let secret = folder.path().join("password");
    std::fs::write(&secret, password).unwrap();
    give(folder.path(), "postgres");
    let data = folder.path().join("data");
    let mut command = Command::new(programs.join("initdb"));
    command
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "--auth=scram-sha-256", "--locale=C", "--no-sync"])
        .arg(format!("--pwfile={}", secret.display()));
    assert!(as_user(&mut command, "postgres").status().unwrap().success(), "initdb fails");
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(&data).args(["-F", "-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(folder.path());
    let mut child = as_user(&mut command, "postgres").spawn().unwrap();
    wait_for(port, &mut child);
    // Fast shutdown: it waits for nobody.
    RealServer { port, child, signal: libc::SIGINT, _folder: folder }
}

/// With a user `watch` of this password.
pub fn mariadb(password: &str) -> RealServer {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let (data, start) = (folder.path().join("data"), folder.path().join("start.sql"));
    std::fs::write(&start, format!("CREATE USER 'watch'@'%' IDENTIFIED BY '{password}';\n")).unwrap();
    give(folder.path(), "mysql");
    let mut command = Command::new("mariadb-install-db");
    command
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg(format!("--datadir={}", data.display()));
    assert!(as_user(&mut command, "mysql").status().unwrap().success(), "mariadb-install-db fails");
    let mut command = Command::new("mariadbd");
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display())).arg(format!("--init-file={}", start.display()));
    command.arg(format!("--socket={}", folder.path().join("socket").display()));
    command.args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-name-resolve"]);
    let mut child = as_user(&mut command, "mysql").spawn().unwrap();
    wait_for(port, &mut child);
    RealServer { port, child, signal: libc::SIGKILL, _folder: folder }
}

/// Takes connections and says nothing, ever.
pub async fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    port
}

/// Says something that is no protocol anybody asked for, and hangs up.
pub async fn stranger() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    });
    port
}

/// What speaks MongoDB's wire protocol for one user, or for anybody.
pub async fn mongodb(account: Option<(&'static str, &'static str)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = talk(stream, account).await;
            });
        }
    });
    port
}

async fn talk(mut stream: tokio::net::TcpStream, account: Option<(&str, &str)>) -> std::io::Result<()> {
    let (mut known, mut scram) = (account.is_none(), None::<(String, String)>);
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await?;
        let word = |at: usize| i32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        assert_eq!(word(12), 2013, "OP_MSG is all it takes");
        let mut body = vec![0; word(0) as usize - 16];
        stream.read_exact(&mut body).await?;
        assert_eq!(&body[..5], [0; 5], "no flags, and one section of kind 0");
        // The name of a command is its first field: its type, its name, and an end.
        let name = body[10..].split(|byte| *byte == 0).next().unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        let payload = payload(&body);
        let answer = match (std::str::from_utf8(name).unwrap(), known) {
            ("hello", _) => vec![text_field("msg", "hello"), flag("isWritablePrimary", true), int("maxWireVersion", 21), ok()],
            ("ping", true) => vec![ok()],
            ("buildInfo", true) => vec![text_field("version", "7.0.14-wire"), ok()],
            ("saslStart", _) => {
                assert!(text.contains("SCRAM-SHA-256"));
                let first = payload.strip_prefix("n,,").unwrap().to_owned();
                let nonce = first.split("r=").nth(1).unwrap().to_owned() + "server";
                let server = format!("r={nonce},s={},i=4096", BASE64_STANDARD.encode("saltsaltsaltsalt"));
                let answer = vec![int("conversationId", 1), flag("done", false), bytes("payload", server.as_bytes()), ok()];
                scram = Some((first, server));
                answer
            }
            ("saslContinue", _) => {
                let (first, server) = scram.take().expect("it was started");
                let (without, proof) = payload.split_once(",p=").unwrap();
                let (user, password) = account.expect("someone may log in");
                match verify(password, &first, &server, without, proof).filter(|_| first.starts_with(&format!("n={user},"))) {
                    Some(signature) => {
                        known = true;
                        vec![int("conversationId", 1), flag("done", true), bytes("payload", format!("v={signature}").as_bytes()), ok()]
                    }
                    None => refused(18, "Authentication failed."),
                }
            }
            (_, false) => refused(13, "command requires authentication"),
            (other, _) => refused(59, &format!("no such command: '{other}'")),
        };
        let body = document(&answer);
        let length = (16 + 5 + body.len()) as i32;
        let mut out = Vec::new();
        for number in [length, 1, word(4), 2013, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(0);
        out.extend(body);
        stream.write_all(&out).await?;
    }
}

/// The bytes of the field `payload`, where there is one.
fn payload(body: &[u8]) -> String {
    let mark = b"\x05payload\0";
    let Some(at) = body.windows(mark.len()).position(|part| part == mark) else { return String::new() };
    let rest = &body[at + mark.len()..];
    let length = i32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
    String::from_utf8(rest[5..5 + length].to_vec()).unwrap()
}

/// The server's side of RFC 5802: whether the proof fits the stored key; its own signature if so.
fn verify(password: &str, first: &str, server: &str, without: &str, proof: &str) -> Option<String> {
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, 4096.try_into().unwrap(), b"saltsaltsaltsalt", password.as_bytes(), &mut salted);
    let mac = |key: &[u8], text: &[u8]| sign(&Key::new(HMAC_SHA256, key), text).as_ref().to_vec();
    let stored = digest(&SHA256, &mac(&salted, b"Client Key"));
    let auth = format!("{first},{server},{without}");
    let signature = mac(stored.as_ref(), auth.as_bytes());
    let proof = BASE64_STANDARD.decode(proof).ok()?;
    let key: Vec<u8> = proof.iter().zip(&signature).map(|(proof, sign)| proof ^ sign).collect();
    (digest(&SHA256, &key).as_ref() == stored.as_ref()).then(|| BASE64_STANDARD.encode(mac(&mac(&salted, b"Server Key"), auth.as_bytes())))
}

fn refused(code: i32, message: &str) -> Vec<Vec<u8>> {
    vec![double("ok", 0.0), text_field("errmsg", message), int("code", code)]
}

fn ok() -> Vec<u8> {
    double("ok", 1.0)
}

fn field(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0], value].concat()
}

fn double(name: &str, value: f64) -> Vec<u8> {
    field(1, name, &value.to_le_bytes())
}

fn text_field(name: &str, value: &str) -> Vec<u8> {
    field(2, name, &[&(value.len() as i32 + 1).to_le_bytes(), value.as_bytes(), &[0]].concat())
}

fn bytes(name: &str, value: &[u8]) -> Vec<u8> {
    field(5, name, &[&(value.len() as i32).to_le_bytes()[..], &[0], value].concat())
}

fn flag(name: &str, value: bool) -> Vec<u8> {
    field(8, name, &[u8::from(value)])
}

fn int(name: &str, value: i32) -> Vec<u8> {
    field(16, name, &value.to_le_bytes())
}

fn document(fields: &[Vec<u8>]) -> Vec<u8> {
    let body = fields.concat();
    [&(body.len() as i32 + 5).to_le_bytes()[..], &body, &[0]].concat()
}
