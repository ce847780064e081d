//! The servers people depend on, each asked by its own protocol at its own interval, and what they last said.
//!
//! One that does not answer is down only after some tries in a row, and up again with the first answer.

pub mod mysql;
pub mod openai;
pub mod postgresql;
pub mod surrealdb;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::config::system::{DependencyPlace, DependencySettings, Encryption};
use crate::model::incident::Severity;
use crate::model::service::{IpFamily, TlsOptions};
use crate::model::system::{Answered, DependencyKind};
use crate::model::time::Timestamp;
use crate::probe::Probes;
use crate::probe::protocol::{Server, Steps, Trouble, mongodb, redis, smtp, within};
use crate::store::connection::Database;
use crate::system::threshold::{Finding, State};

/// What asking a server takes.
pub struct Asker {
    probes: Probes,
    /// The store's own connection.
    database: Arc<Database>,
    store: crate::config::sections::StoreSettings,
    clock: Clock,
}

/// One server and how it fares.
pub struct Dependency {
    pub settings: Arc<DependencySettings>,
    asker: Arc<Asker>,
    status: Mutex<Status>,
    /// One who asks at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `None`: not asked yet.
    pub checked_at: Option<Timestamp>,
    pub latency: Duration,
    pub version: Option<String>,
    /// Of the last try.
    pub trouble: Option<Trouble>,
    /// Tries in a row without an answer.
    pub failures: u32,
    pub last_answer: Option<Timestamp>,
    /// Since when it is up, or is not.
    pub since: Option<Timestamp>,
}

/// The servers of a configuration.
pub fn dependencies(config: &Config, database: &Arc<Database>, clock: &Clock) -> anyhow::Result<Vec<Arc<Dependency>>> {
    if config.system.dependencies.is_empty() {
        return Ok(Vec::new());
    }
    let asker = Arc::new(Asker {
        probes: Probes::new(&config.region.probe, clock.clone()).context("dependencies cannot be asked")?,
        database: database.clone(),
        store: config.store.clone(),
        clock: clock.clone(),
    });
    let one = |settings: &Arc<DependencySettings>| {
        Arc::new(Dependency {
            settings: settings.clone(),
            asker: asker.clone(),
            status: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    };
    Ok(config.system.dependencies.iter().map(one).collect())
}

impl Dependency {
    pub fn status(&self) -> Status {
        self.status.lock().expect("no holder panics").clone()
    }

    /// Asks once and takes in the answer.
    pub async fn check(&self) {
        let _turn = self.asking.lock().await;
        let clock = &self.asker.clock;
        let began = clock.steady();
        let outcome = self.asker.ask(&self.settings).await;
        let (latency, now) = (clock.steady().saturating_sub(began), clock.now());
        let (name, kind) = (&*self.settings.name, self.settings.kind.name());
        let mut status = self.status.lock().expect("no holder panics");
        let was_down = status.failures >= self.settings.down_after;
        let turned = status.since.is_none() || status.trouble.is_some() != outcome.is_err();
        if turned {
            status.since = Some(now);
        }
        (status.checked_at, status.latency) = (Some(now), latency);
        match outcome {
            Ok(version) => {
                if was_down {
                    info!(dependency = name, kind, "dependency answers again");
                }
                (status.version, status.trouble, status.failures, status.last_answer) = (version, None, 0, Some(now));
            }
            Err(trouble) => {
                status.failures = status.failures.saturating_add(1);
                if status.failures == self.settings.down_after {
                    warn!(dependency = name, kind, phase = trouble.phase(), reason = trouble.message, "dependency is down");
                }
                status.trouble = Some(trouble);
            }
        }
    }

    pub fn answered(&self) -> Option<Answered> {
        let status = self.status();
        status.checked_at.map(|_| Answered { up: status.trouble.is_none(), latency_ms: status.latency.as_secs_f64() * 1e3 })
    }

    /// `up`, `slow`, `failing` (not for long enough to be down), `down` or `unknown`.
    pub fn state(&self) -> &'static str {
        let status = self.status();
        match (&status.trouble, status.checked_at) {
            (_, None) => "unknown",
            (Some(_), _) if status.failures >= self.settings.down_after => "down",
            (Some(_), _) => "failing",
            (None, _) if self.settings.slow.is_some_and(|slow| status.latency > slow) => "slow",
            (None, _) => "up",
        }
    }

    /// What the thresholds make of it.
    pub fn findings(&self, hold: Duration) -> [Finding; 2] {
        let (status, settings) = (self.status(), &self.settings);
        let (name, kind, state) = (&settings.name, settings.kind.name(), self.state());
        let severity = if settings.critical { Severity::Critical } else { Severity::Warning };
        let why = status.trouble.as_ref().map(ToString::to_string).unwrap_or_default();
        let down = Finding {
            watched: format!("dependency-{name}"),
            state: match state {
                "down" => State::Wrong(severity),
                "failing" => State::Between,
                "unknown" => State::Unknown,
                _ => State::Well,
            },
            text: format!("dependency {name} ({kind}) is down: {why}"),
            next_step: Some(next_step(status.trouble.as_ref(), &settings.name)),
            // So many tries in a row are what it takes.
            hold: Duration::ZERO,
        };
        let slow = Finding {
            watched: format!("dependency-{name}-slow"),
            state: match (state, settings.slow) {
                (_, None) => State::Well,
                ("slow", _) => State::Wrong(Severity::Warning),
                ("up", Some(slow)) if status.latency > slow.mul_f64(0.9) => State::Between,
                ("up", _) => State::Well,
                // Of one that does not answer there is nothing to say.
                _ => State::Unknown,
            },
            text: format!(
                "dependency {name} ({kind}) takes {:.0} ms to answer, more than {:.0} ms",
                status.latency.as_secs_f64() * 1e3,
                settings.slow.unwrap_or_default().as_secs_f64() * 1e3
            ),
            next_step: None,
            hold,
        };
        [down, slow]
    }
}

fn next_step(trouble: Option<&Trouble>, name: &str) -> String {
    match trouble.map(Trouble::phase) {
        Some("dns") => format!("see to the name in dependencies.{name}.url and to the name servers"),
        Some("connect") => "see whether the server runs and listens there, and what lies between".to_owned(),
        Some("tls") => format!("see to the server's certificate, or name its authority in dependencies.{name}.ca"),
        Some("auth") => format!("see to dependencies.{name}.user and password"),
        Some("timeout") => "the server is there and does not answer: see to its load".to_owned(),
        _ => format!("see to what answers at dependencies.{name}.url"),
    }
}

impl Asker {
    async fn ask(&self, settings: &DependencySettings) -> Result<Option<String>, Trouble> {
        let steps = Steps::default();
        let Some(place) = &settings.place else {
            return within(settings.timeout, &steps, surrealdb::own(&self.database, &steps)).await;
        };
        let server = server(place, &settings.tls);
        let (login, database, limit) = (&settings.login, place.database.as_deref(), settings.timeout);
        let dialer = self.probes.dialer();
        match settings.kind {
            DependencyKind::Redis => {
                let number = database.and_then(|database| database.parse().ok());
                within(limit, &steps, redis::greet(dialer, &server, login, number, &steps)).await
            }
            DependencyKind::MongoDb => within(limit, &steps, mongodb::greet(dialer, &server, login, &place.user_database, &steps)).await,
            DependencyKind::Smtp => within(limit, &steps, smtp::greet(dialer, &server, login, &settings.tls, &steps)).await,
            DependencyKind::PostgreSql => {
                let asked = postgresql::greet(dialer, &server, place.encryption, &settings.tls, login, database, &steps);
                within(limit, &steps, asked).await
            }
            DependencyKind::MySql => within(limit, &steps, mysql::greet(dialer, &server, login, database, &steps)).await,
            DependencyKind::SurrealDb => {
                within(limit, &steps, surrealdb::greet(dialer, &server, place, settings, &self.store, &steps)).await
            }
            DependencyKind::OpenAi => openai::greet(&self.probes, place, settings, &self.clock).await,
        }
    }
}

fn server(place: &DependencyPlace, tls: &TlsOptions) -> Server {
    // Where TLS is only offered, it begins in mid-conversation.
    let tls = (place.encryption == Encryption::Always).then(|| tls.clone());
    Server { host: place.host.clone(), port: place.port, tls, family: IpFamily::Any }
}
