//! The only logging set-up: lines for a person on the terminal, `monitor.log` with one JSON object a line, and `health.log`,
//! a line for each check.
//!
//! Every line goes through a queue in memory with a thread behind it, so that a slow disk, a full pipe or a halted terminal
//! never holds up who logs. What a full queue could not take is counted, and said in the log once there is room again: the
//! store keeps the results and the supervisor its counts, a log that lost a line is worth less than a check made late.
//!
//! An entry of a queue is one line, in that of `health.log` the lines of one batch.
//!
//! **Invariant**: the logs of one folder take `file_bytes × (files + 1)` each at most, over restarts too.

pub mod health;
pub mod health_line;
pub mod rolling;
pub mod sink;
pub mod tail;

use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{EnvFilter, Layer, reload};

use crate::clock::Clock;
use crate::config::sections::LogSettings;
use crate::telemetry::health::HealthLog;
use crate::telemetry::rolling::{Bounds, RollingFile};
use crate::telemetry::sink::Losses;

/// Lines that wait for the disk or the terminal: about two megabytes.
const QUEUE_LINES: usize = 8 << 10;

/// Batches of `health.log` that wait: about five seconds of a region that commits fifty times a second.
const QUEUE_BATCHES: usize = 256;

/// How long the end of a process waits for lines still to be written. `WorkerGuard` gives each queue a little over a second.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// Crates that tell more than a person who runs a monitor wants to know.
/// The engine warns of its own ordered end; Rocket calls every unknown path an error, and what it must tell it returns.
const NOISY: [(&str, &str); 9] = [
    ("surrealdb", "surrealdb=warn,surrealdb::core::kvs::ds=off"),
    ("surrealkv", "surrealkv=error"),
    ("ractor", "ractor=warn"),
    // Its sessions come and go with ours, which are told of by name.
    ("ractor_cluster", "ractor_cluster=error"),
    ("rocket", "rocket=off"),
    ("hyper", "hyper=warn"),
    ("h2", "h2=warn"),
    ("reqwest", "reqwest=warn"),
    ("rustls", "rustls=warn"),
];

/// What goes to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Time, level, message and fields, on standard error.
    Human,
    Off,
}

/// Keeps the logs running. When it is dropped, what waits is written, for a second each at most.
pub struct Telemetry {
    pub health: HealthLog,
    level: reload::Handle<EnvFilter, Registry>,
    losses: Vec<Losses>,
    /// Ended in this order, so that the monitor's log still hears of trouble with the health log.
    guards: Vec<WorkerGuard>,
}

/// Opens the logs and takes over all events of the process, those of `log` users too. Once in a process.
pub fn start(settings: &LogSettings, console: Console) -> anyhow::Result<Telemetry> {
    let (subscriber, telemetry) = build(settings, console, Clock::real())?;
    tracing::subscriber::set_global_default(subscriber).context("logging has been set up before")?;
    // A library may have taken over `log` before: then its users' events stay there.
    let _ = tracing_log::LogTracer::init();
    Ok(telemetry)
}

/// The same without taking over the process, so that there can be several.
pub fn build(settings: &LogSettings, console: Console, clock: Clock) -> anyhow::Result<(impl Subscriber + Send + Sync + use<>, Telemetry)> {
    std::fs::create_dir_all(&settings.dir).with_context(|| format!("cannot make the folder for logs {}", settings.dir.display()))?;
    let bounds = Bounds { file_bytes: settings.file_bytes, file_age: settings.file_age, files: settings.files };
    let file = |name| RollingFile::open(settings.dir.join(name), bounds, clock.clone());
    let mut losses = Vec::new();
    let mut guards = Vec::new();
    let mut keep = |(queue, guard, lost): (NonBlocking, WorkerGuard, Losses)| {
        losses.push(lost.clone());
        guards.push(guard);
        (queue, lost)
    };
    let health = match settings.health {
        true => {
            let (queue, lost) = keep(sink::spawn("health.log", file("health.log")?, QUEUE_BATCHES));
            HealthLog::new(queue, lost)
        }
        false => HealthLog::off(),
    };
    let (monitor, _) = keep(sink::spawn("monitor.log", file("monitor.log")?, QUEUE_LINES));
    let human = match console {
        Console::Human => Some(human_layer(keep(sink::spawn("terminal", std::io::stderr(), QUEUE_LINES)).0, clock.clone())),
        Console::Off => None,
    };
    let (filter, level) = reload::Layer::new(filter(&settings.level)?);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_timer(Time { clock, human: false })
        .with_writer(monitor);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines).with(human);
    Ok((subscriber, Telemetry { health, level, losses, guards }))
}

impl Telemetry {
    /// Changes what is logged from now on.
    pub fn set_level(&self, level: &str) -> anyhow::Result<()> {
        self.level.reload(filter(level)?).context("the log level cannot be changed any more")
    }

    /// Entries lost so far, over all logs: their queue was full, or they could not be written.
    pub fn lost(&self) -> u64 {
        self.losses.iter().map(Losses::count).sum()
    }
}

impl Drop for Telemetry {
    /// A guard that finds its queue full says so on standard output, which may stand still with the very terminal it complains
    /// of. So the guards are dropped on a thread of their own, which is left behind when it takes too long.
    fn drop(&mut self) {
        let guards = std::mem::take(&mut self.guards);
        let (ended, end) = mpsc::channel::<()>();
        let closing = std::thread::Builder::new().name("logs".to_owned()).spawn(move || {
            drop(guards);
            drop(ended);
        });
        if closing.is_ok() {
            let _ = end.recv_timeout(LAST_WORDS);
        }
    }
}

fn human_layer<S>(writer: NonBlocking, clock: Clock) -> impl Layer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(Time { clock, human: true })
        .with_writer(writer)
}

/// The filter for a level as it is configured: other people's crates are heard from `warn` on, unless they are named in it or
/// less than that is wanted of all.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let directives: Vec<&str> = level.split(',').map(str::trim).collect();
    let quiet = directives.iter().any(|directive| ["error", "off"].contains(&directive.to_lowercase().as_str()));
    let named =
        |name: &str| directives.iter().any(|directive| directive.split(['=', ':']).next().is_some_and(|target| target.trim() == name));
    let mut all = directives.join(",");
    for (name, directives) in NOISY {
        if !quiet && !named(name) {
            all.push(',');
            all.push_str(directives);
        }
    }
    EnvFilter::try_new(&all).with_context(|| format!("the log level {level:?} is not understood"))
}

/// The clock's time: in full for a program, without the date for a person.
struct Time {
    clock: Clock,
    human: bool,
}

impl FormatTime for Time {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let now = self.clock.now();
        match self.human {
            true => write!(out, "{}", now.datetime().format("%H:%M:%S%.3f")),
            false => out.write_str(&now.rfc3339()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_of_others_are_quiet_unless_named_or_less_is_wanted() {
        let text = |level| filter(level).expect("a good level").to_string();
        assert!(text("info").contains("surrealdb=warn"), "{}", text("info"));
        let named = text("info,rocket=debug");
        assert!(named.contains("rocket=debug") && !named.contains("rocket=off") && named.contains("hyper=warn"), "{named}");
        assert_eq!(text("error"), "error");
        assert!(filter("a=b=c").is_err());
    }
}
