//! A program on the hub's machine: run without a shell, the message as JSON on its standard input.
//!
//! It runs with nothing of the hub's environment, for that holds secrets, and is ended with all it started when its time is
//! over or nobody waits for it any more. An exit code of zero means told; any other is tried again.
//!
//! **Invariant.** Nothing is run unless the settings allow it in so many words.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use crate::alert::channel::call::{never, passing};
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::sender::Sender;
use crate::alert::channel::webhook::document;
use crate::alert::message::text::clean;
use crate::alert::message::{Parts, plain};
use crate::config::mistake::Mistake;
use crate::model::alert::{DeliveryFailure, Message};

pub const FIELDS: &[Field] = &[
    field("argv", Form::Texts, "The program by its whole path, and its arguments; no shell reads them").required(),
    field("timeout_s", Form::Number { least: 1, most: 600 }, "Usually alerts.send_timeout_s"),
];

/// What is kept of its output; the rest is read and dropped.
const OUTPUT: usize = 4_096;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Output is waited for so long beyond the program's end: something it started may hold its pipes.
const REST: Duration = Duration::from_millis(200);

#[derive(Clone, PartialEq)]
pub struct Command {
    argv: Vec<String>,
    timeout: Option<Duration>,
}

impl Command {
    pub fn read(fields: &mut Fields) -> Command {
        let argv = fields.texts("argv");
        match argv.first() {
            None => fields.wrong("argv", "must name a program"),
            Some(program) if !Path::new(program).is_absolute() => fields.wrong("argv[0]", "must be a program's whole path, from the root"),
            Some(_) => {}
        }
        for (index, _) in argv.iter().enumerate().filter(|(_, text)| text.contains('\0')) {
            fields.wrong(&format!("argv[{index}]"), "holds a character no argument can hold");
        }
        Command { argv, timeout: fields.number("timeout_s").map(Duration::from_secs) }
    }

    pub async fn deliver(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<String, DeliveryFailure> {
        if !sender.allow_commands {
            return Err(never("commands are switched off: alerts.allow_commands is not true".to_owned()));
        }
        let Some((program, arguments)) = self.argv.split_first() else { return Err(never("no program is named".to_owned())) };
        let mut input = document(message, parts);
        input["plain"] = plain::whole(parts).into();
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("PROBEMESH_KEY", &message.key)
            .env("PROBEMESH_CAUSE", &message.cause)
            .env("PROBEMESH_TELLING", message.telling.name())
            .env("PROBEMESH_SEVERITY", message.severity.name())
            .env("PROBEMESH_DRILL", message.drill.to_string())
            .env("PROBEMESH_SERVICE", clean(message.service.as_deref().unwrap_or_default()))
            .env("PROBEMESH_TITLE", &parts.first_line)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that it is ended with all it starts.
            .process_group(0);
        let mut running = command.spawn().map_err(|error| never(format!("{program} cannot be run: {error}")))?;
        let pipes = Pipes::take(&mut running);
        let running = Running(Arc::new(Mutex::new(running)));
        let mut pipes = pipes.map_err(|error| passing(format!("pipes of {program} cannot be used: {error}")))?;
        let limit = self.timeout.unwrap_or(sender.timeout);
        match tokio::time::timeout(limit, pipes.talk(&running, &input.to_string())).await {
            Err(_) => Err(passing(format!("did not end within {} s and was ended{}", limit.as_secs_f64(), pipes.said()))),
            Ok(Err(error)) => Err(passing(format!("{program}: {error}"))),
            Ok(Ok(status)) if status.success() => Ok(format!("exit 0{}", pipes.said())),
            Ok(Ok(status)) => Err(passing(format!("{status}{}", pipes.said()))),
        }
    }

    pub fn doubts(&self) -> Vec<Mistake> {
        match self.argv.first().map(Path::new) {
            Some(program) if !program.is_file() => vec![Mistake::new("argv[0]", format!("{} is not a file here", program.display()))],
            _ => Vec::new(),
        }
    }
}

/// Ended, if it still runs, when this is dropped.
struct Running(Arc<Mutex<Child>>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = self.0.lock().expect("no holder panics");
        // Not waited for yet, its number is still its own.
        if matches!(child.try_wait(), Ok(None)) {
            // SAFETY: a plain call; the group is the one made for this child.
            unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
        }
    }
}

impl Running {
    /// Waits for its end. The thread that waits ends with it.
    async fn ended(&self) -> io::Result<ExitStatus> {
        let child = self.0.clone();
        let id = child.lock().expect("no holder panics").id();
        let waited = tokio::task::spawn_blocking(move || {
            // Waited for without the lock, and so that it is still there to be ended: whoever ends it must not meet another
            // process that was given its number.
            loop {
                // SAFETY: the struct has the size the call takes; the child is ours and was not waited for.
                let done = unsafe {
                    let mut info: libc::siginfo_t = std::mem::zeroed();
                    libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOWAIT)
                };
                if done == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                    break;
                }
            }
            child.lock().expect("no holder panics").wait()
        });
        waited.await.map_err(io::Error::other)?
    }
}

struct Pipes {
    input: Option<pipe::Sender>,
    output: pipe::Receiver,
    errors: pipe::Receiver,
    said: Vec<u8>,
    complained: Vec<u8>,
}

impl Pipes {
    fn take(child: &mut Child) -> io::Result<Pipes> {
        let missing = || io::Error::other("a pipe is missing");
        Ok(Pipes {
            input: Some(pipe::Sender::from_owned_fd(OwnedFd::from(child.stdin.take().ok_or_else(missing)?))?),
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(child.stdout.take().ok_or_else(missing)?))?,
            errors: pipe::Receiver::from_owned_fd(OwnedFd::from(child.stderr.take().ok_or_else(missing)?))?,
            said: Vec::new(),
            complained: Vec::new(),
        })
    }

    async fn talk(&mut self, running: &Running, input: &str) -> io::Result<ExitStatus> {
        let to = self.input.take();
        let write = async move {
            if let Some(mut to) = to {
                // A program that does not read is no failure.
                let _ = to.write_all(input.as_bytes()).await;
            }
        };
        let read = async {
            tokio::join!(keep(&mut self.output, &mut self.said), keep(&mut self.errors, &mut self.complained));
        };
        let talk = async { tokio::join!(write, read) };
        tokio::pin!(talk);
        tokio::select! {
            status = running.ended() => {
                let _ = tokio::time::timeout(REST, talk).await;
                status
            }
            _ = &mut talk => running.ended().await,
        }
    }

    fn said(&self) -> String {
        let both = [&self.said, &self.complained].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        let both: Vec<String> = both.into_iter().filter(|text| !text.is_empty()).collect();
        if both.is_empty() { String::new() } else { format!(": {}", both.join(" ")) }
    }
}

async fn keep(from: &mut pipe::Receiver, kept: &mut Vec<u8>) {
    let mut chunk = [0; 4_096];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let room = OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..count.min(room)]);
    }
}
