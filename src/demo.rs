//! `probemesh demo`: local services with injected trouble, watched by a real hub and nodes of three regions, and what was told of
//! it held against what was done.
//!
//! ```text
//! plan (seed) ──▶ servers, names: real sockets that are as sound as the plan says ──▶ processes: hub and nodes that check them
//!      └────────▶ score ◀── people: findings, digest and recommendations, read by the API as anybody would
//! ```
//!
//! The run begins when every region has seen every service. First all is well, so that the analyst learns; then each of the troubled
//! services has one trouble, whose phase, region, beginning and end are known; then all is well again, for what was told to end. How
//! a finding is matched with a trouble is [`score`]'s.
//!
//! **Invariant.** The hub and its nodes are told nothing of the plan: they are given the same services, with the same settings, as a
//! person would give them.

pub mod names;
pub mod people;
pub mod plan;
pub mod processes;
pub mod score;
pub mod servers;
pub mod steadiness;
pub mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::demo::people::Person;
use crate::demo::plan::{Plan, REGIONS};
use crate::demo::processes::{Processes, Settings};
use crate::demo::score::{Injected, Score, Texts, Told, score};
use crate::demo::servers::{Listening, Stage, document, open};
use crate::demo::steadiness::Steadiness;
use crate::model::finding::Signal;
use crate::model::time::Timestamp;
use crate::supervise::Task;

/// Of a sample of the analyst, and of a service: three checks a sample in each region.
const SPAN: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(330);
/// Until all processes stand and every region has seen every service.
const READY_WITHIN: Duration = Duration::from_secs(90);
const DIGEST_WITHIN: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub whole: Duration,
    pub keep: bool,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub elapsed: Duration,
    pub whole: Duration,
    pub what: String,
}

/// Everything the demo stands on. Dropped, its processes end and their folder goes.
pub struct Demo {
    stage: Arc<Stage>,
    _listening: Vec<Listening>,
    _names: Task,
    processes: Processes,
    person: Person,
    clock: Clock,
    began: Timestamp,
}

/// What came of it.
pub struct Report {
    pub plan: Plan,
    pub began: Timestamp,
    pub score: Score,
    /// As the API told them.
    pub findings: Vec<Value>,
    pub digest: Value,
    pub recommendations: Value,
    pub checks: u64,
    /// What this computer was late by, 99 % of the time at most.
    pub late: Duration,
}

impl Demo {
    /// Starts all, and waits until every region has seen every service.
    pub async fn start(options: &Options, clock: &Clock) -> anyhow::Result<Demo> {
        let stage = Arc::new(Stage::new(Plan::new(options.seed, options.whole), clock.clone()));
        let listening = open(&stage).await?;
        let (name_server, names) = names::serve(stage.clone()).await?;
        let processes = Processes::start(Settings { name_server, span: SPAN, keep: options.keep })?;
        let person = Person::new(processes.port, &processes.password)?;
        let (clock, began) = (clock.clone(), clock.now());
        let mut demo = Demo { stage, _listening: listening, _names: names, processes, person, clock, began };
        let until = demo.clock.steady() + READY_WITHIN;
        while !demo.person.is_there().await {
            demo.wait(until, "the hub to listen").await?;
        }
        while !demo.linked().await? {
            demo.wait(until, "the nodes to be linked").await?;
        }
        for (service, listening) in demo.stage.plan.services.iter().zip(&demo._listening) {
            demo.person.post("api/monitor/services/", &document(service, listening, INTERVAL)).await?;
        }
        while !demo.all_seen().await? {
            demo.wait(until, "every region to see every service").await?;
        }
        demo.stage.begin();
        demo.began = demo.clock.now();
        Ok(demo)
    }

    /// Where it can be looked at, and how to log in.
    pub fn address(&self) -> String {
        let Processes { folder, port, password, .. } = &self.processes;
        let hub = folder.join(REGIONS[0]);
        format!(
            "the hub runs on http://127.0.0.1:{port}, user admin, password {password}\nfolder {} stays; commands such as `probemesh inspect` \
             are run in {}\nCtrl-C ends it",
            folder.display(),
            hub.display()
        )
    }

    /// Ends its processes in order.
    pub async fn end(self) {
        self.processes.end(&self.clock).await;
    }

    async fn wait(&mut self, until: Duration, what: &str) -> anyhow::Result<()> {
        self.processes.all_run()?;
        if self.clock.steady() >= until {
            bail!("waited for {what} in vain");
        }
        self.clock.sleep(Duration::from_millis(100)).await;
        Ok(())
    }

    async fn linked(&mut self) -> anyhow::Result<bool> {
        let nodes = self.person.get("api/v1/nodes").await?;
        let linked = |node: &&Value| node["link"] == "connected" || node["link"] == "local";
        Ok(list(&nodes["results"]).iter().filter(linked).count() == REGIONS.len())
    }

    async fn all_seen(&mut self) -> anyhow::Result<bool> {
        let summary = self.person.get("api/monitor/health/summary/").await?;
        let services = list(&summary["services"]);
        let seen = |service: &Value| list(&service["regions"]).iter().filter(|region| region["status"] == "up").count() == REGIONS.len();
        Ok(services.len() == self.stage.plan.services.len() && services.iter().all(seen))
    }

    /// Lets the plan take its course, and reports.
    pub async fn run(&mut self, mut tell: impl FnMut(Progress)) -> anyhow::Result<Report> {
        let whole = self.stage.plan.whole();
        let steadiness = Steadiness::watch(&self.clock);
        let mut seen: BTreeMap<String, Timestamp> = BTreeMap::new();
        loop {
            let findings = self.look(&mut seen).await?;
            let elapsed = self.stage.elapsed();
            tell(Progress { elapsed: elapsed.min(whole), whole, what: self.what(elapsed, findings.len()) });
            if elapsed >= whole {
                break;
            }
            self.processes.all_run()?;
            self.clock.sleep(LOOK_EVERY).await;
        }
        let late = steadiness.late();
        tell(Progress { elapsed: whole, whole, what: "writing the digest".to_owned() });
        let digest = self.digest().await?;
        let recommendations = self.person.get("api/v1/maintenance/performance/recommendations?hours=1").await?;
        let findings = self.look(&mut seen).await?;
        let statistics = self.person.get("api/monitor/results/statistics/").await?;
        let told: Vec<Told> = findings.iter().filter_map(|finding| told(finding, &seen)).collect();
        let injected = self.injected();
        let texts: Vec<Texts> = injected.iter().map(|injected| texts(injected, &digest, &recommendations)).collect();
        let score = score(&injected, &told, &texts, REGIONS.len(), SPAN);
        let checks = statistics["checks"].as_u64().unwrap_or(0);
        Ok(Report { plan: self.stage.plan.clone(), began: self.began, score, findings, digest, recommendations, checks, late })
    }

    /// A digest of the last hour. A model may take longer than a request may; then it is the latest once it is there.
    async fn digest(&mut self) -> anyhow::Result<Value> {
        let until = self.clock.steady() + DIGEST_WITHIN;
        let mut digest = self.person.post("api/monitor/digests/run/", &json!({"period_hours": 1})).await?;
        while digest["headline"].is_null() {
            self.wait(until, "the digest").await?;
            digest = self.person.find("api/monitor/digests/latest/").await?.unwrap_or_default();
        }
        Ok(digest)
    }

    /// All findings there are, the oldest first; notes when each was there first.
    async fn look(&mut self, seen: &mut BTreeMap<String, Timestamp>) -> anyhow::Result<Vec<Value>> {
        let page = self.person.get("api/v1/findings/?page_size=500").await?;
        let now = self.clock.now();
        let mut findings = list(&page["results"]).to_vec();
        findings.reverse();
        for id in findings.iter().filter_map(|finding| finding["id"].as_str()) {
            seen.entry(id.to_owned()).or_insert(now);
        }
        Ok(findings)
    }

    fn what(&self, elapsed: Duration, findings: usize) -> String {
        let plan = &self.stage.plan;
        let phase = match elapsed {
            elapsed if elapsed < plan.calm => "all is well, habits are learnt",
            elapsed if elapsed < plan.calm + plan.troubled => "trouble",
            _ => "all is well again",
        };
        format!("{phase}; findings: {findings}")
    }

    /// The troubles of the plan, in its order.
    fn injected(&self) -> Vec<Injected> {
        let services = self.stage.plan.services.iter();
        let troubled = services.filter_map(|service| Some((service.name, service.trouble.as_ref()?)));
        troubled
            .map(|(service, trouble)| Injected {
                service: service.to_owned(),
                what: trouble.kind.what(),
                signal: trouble.kind.signal(),
                region: trouble.kind.region().map(str::to_owned),
                begins: self.began.plus(trouble.begins),
                ends: self.began.plus(trouble.ends),
            })
            .collect()
    }
}

fn told(finding: &Value, seen: &BTreeMap<String, Timestamp>) -> Option<Told> {
    let text = |field: &str| finding[field].as_str().map(str::to_owned);
    let at = |field: &str| Timestamp::parse(finding[field].as_str()?);
    let id = text("id")?;
    Some(Told {
        service: text("service_name")?,
        signal: text("signal")?,
        regions: list(&finding["regions"]).iter().filter_map(|region| region.as_str().map(str::to_owned)).collect(),
        since: at("since")?,
        ended: at("ended"),
        seen: *seen.get(&id)?,
        summary: text("summary")?,
        id,
    })
}

/// Whether a paragraph or a suggestion of the digest has both the service and the word for its trouble, and whether a recommendation
/// is for it.
fn texts(injected: &Injected, digest: &Value, recommendations: &Value) -> Texts {
    let words: &[&str] = match injected.signal {
        Some(Signal::Dns) => &["dns"],
        Some(Signal::Tls) => &["tls"],
        Some(Signal::FirstByte) => &["first byte"],
        Some(Signal::Transfer) => &["transfer"],
        Some(Signal::Errors) => &["fail", "error", "down", "503"],
        Some(_) => &[],
        None => &["certificate"],
    };
    let names = |text: &str| {
        let text = text.to_lowercase();
        let place = injected.region.as_ref().is_none_or(|region| text.contains(region.as_str()));
        text.contains(&injected.service) && place && words.iter().any(|word| text.contains(word))
    };
    let parts = [&digest["paragraphs"], &digest["suggestions"]];
    let in_digest = parts.into_iter().flat_map(list).filter_map(Value::as_str).any(names);
    let is_for = |one: &&Value| {
        let service = list(&one["services"]).iter().any(|service| service["service_name"] == injected.service.as_str());
        let phase = one["phase"].as_str().is_some_and(|phase| injected.signal.is_some_and(|signal| signal.name() == phase));
        let said = [&one["what"], &one["because"], &one["advice"]].into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
        service && (phase || words.iter().any(|word| said.to_lowercase().contains(word)))
    };
    // What ends is no matter of performance.
    let recommended = injected.signal.is_some().then(|| list(&recommendations["results"]).iter().any(|one| is_for(&one)));
    Texts { digest: Some(in_digest), recommendations: recommended }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
