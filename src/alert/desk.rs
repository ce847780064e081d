//! The dispatcher's work, round by round: take in what was said, look at what is, find what follows from what, plan, and write it.
//!
//! **Invariants.** What a round tells counts as told once it is written, not before; a round that cannot be written is done again.
//! Each round starts from what is held, so it does not matter how often it runs.

pub mod message;
pub mod reconcile;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::alert::collapse::{Failing, Graph};
use crate::alert::desk::message::{message, personal};
use crate::alert::exit::Exits;
use crate::alert::plan::{Situation, plan};
use crate::alert::rule::{Facts, wants, wants_kind};
use crate::alert::sources::{AllHeld, Seen, Sources};
use crate::clock::Clock;
use crate::config::sections::AlertSettings;
use crate::model::alert::{Cause, CauseKind, CauseMove, Telling, Word};
use crate::model::held::{Acknowledged, Delivery, Held, Progress};
use crate::model::id::{ChannelId, ServiceId};
use crate::model::rule::{Rule, RuleId};
use crate::model::time::Timestamp;
use crate::store::alerts::{Alerts, Commit};
use crate::store::connection::StoreError;
use crate::store::incidents::Incidents;
use crate::store::results::Results;
use crate::store::services::{Services, StoredService};

/// Between two looks at what does not come by itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// What subscribers were told is kept so long after it could have been given up.
const KEPT_PUBLIC: Duration = Duration::from_secs(2 * 86_400);
/// Services asked for a check at once because of one cause.
const MOST_ASKED: usize = 300;
/// A drill that nobody ended.
const LONGEST_DRILL: Duration = Duration::from_secs(900);

/// Whether a service is in maintenance at an instant.
pub type InMaintenance = Arc<dyn Fn(ServiceId, Timestamp) -> bool + Send + Sync>;
/// Has a service checked now; it must return at once.
pub type CheckNow = Arc<dyn Fn(ServiceId) + Send + Sync>;

#[derive(Clone)]
pub struct DeskArgs {
    pub alerts: Arc<Alerts>,
    pub incidents: Arc<Incidents>,
    pub results: Arc<Results>,
    pub services: Arc<Services>,
    pub sources: Sources,
    pub exits: Arc<dyn Exits>,
    pub in_maintenance: InMaintenance,
    pub check_now: CheckNow,
    pub settings: AlertSettings,
    /// The address people reach the hub at.
    pub public_url: Option<String>,
    pub clock: Clock,
}

pub struct Desk {
    args: DeskArgs,
    held: AllHeld,
    /// Held otherwise than written.
    dirty: BTreeSet<String>,
    /// Heard of for the first time since the last round.
    fresh: Vec<String>,
    /// Said, and not yet taken in.
    said: Vec<CauseMove>,
    /// For one person each, and not yet written.
    words: Vec<Word>,
    loaded: bool,
    last_look: Timestamp,
    last_forget: Option<Timestamp>,
    kin: Kin,
}

/// What is known of services, made anew when they change.
#[derive(Default)]
struct Kin {
    of: Arc<Vec<Arc<StoredService>>>,
    facts: BTreeMap<ServiceId, Facts>,
    graph: Graph,
}

/// What one round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Deliveries made.
    pub planned: usize,
    /// Causes of which something may still be told.
    pub held: usize,
    /// When there may be something to tell, as far as is known.
    pub next: Option<Timestamp>,
}

impl Desk {
    pub fn new(args: DeskArgs) -> Desk {
        let last_look = args.clock.now();
        Desk {
            args,
            held: AllHeld::new(),
            dirty: BTreeSet::new(),
            fresh: Vec::new(),
            said: Vec::new(),
            words: Vec::new(),
            loaded: false,
            last_look,
            last_forget: None,
            kin: Kin::default(),
        }
    }

    /// `moves` are taken in whatever becomes of the round. `look`: something may have changed that does not come by itself.
    pub async fn round(&mut self, moves: Vec<CauseMove>, look: bool) -> Result<Round, StoreError> {
        let now = self.args.clock.now();
        self.said.extend(moves);
        let first = !self.loaded;
        if first {
            for held in self.args.alerts.causes.unsettled().await? {
                self.held.entry(held.cause.key.clone()).or_insert(held);
            }
            self.loaded = true;
        }
        self.kin.refresh(&self.args.services);
        std::mem::take(&mut self.said).into_iter().for_each(|said| self.take(said, now));
        let looked = first || look || now.since(self.last_look) >= LOOK_EVERY;
        if looked {
            self.reconcile(first, now).await?;
            self.look(now).await?;
        }
        self.learn_last_good().await;
        self.collapse(now);
        self.ask_relatives();
        let round = self.tell(now).await?;
        if looked {
            self.last_look = now;
            self.forget(now).await?;
        }
        Ok(round)
    }

    fn take(&mut self, said: CauseMove, now: Timestamp) {
        match said {
            CauseMove::Raised(cause) => self.raised(cause, None, None, now),
            CauseMove::Acknowledged { key, by, note, at } => {
                let Some(held) = self.held.get_mut(&key).filter(|held| held.acknowledged.is_none()) else { return };
                held.acknowledged = Some(Acknowledged { by, note, at });
                self.dirty.insert(key);
            }
            CauseMove::Cleared { key, at } => {
                let Some(held) = self.held.get_mut(&key).filter(|held| held.holds()) else { return };
                held.cleared_at = Some(at.max(held.cause.since));
                debug!(cause = key, "cause is over");
                self.dirty.insert(key);
            }
            CauseMove::Unwatched { key, at } => {
                if let Some(held) = self.held.get_mut(&key).filter(|held| held.holds()) {
                    held.unwatched = true;
                }
                self.take(CauseMove::Cleared { key, at }, now);
            }
            CauseMove::Word(word) => self.words.push(word),
        }
    }

    fn raised(&mut self, cause: Cause, not_after: Option<Timestamp>, size: Option<f64>, now: Timestamp) {
        let key = cause.key.clone();
        match self.held.get_mut(&key) {
            Some(held) => {
                let last_good = cause.last_good.or(held.cause.last_good);
                let cause = Cause { since: held.cause.since, last_good, ..cause };
                if held.holds() && (held.cause != cause || held.size != size || held.not_after != not_after) {
                    (held.cause, held.size, held.not_after) = (cause, size, not_after);
                    self.dirty.insert(key);
                }
            }
            // A name is never used again: what was over stays over.
            None if self.args.alerts.causes.contains(&key) => {}
            None => {
                let (kind, severity, service) = (cause.kind.name(), cause.severity.name(), cause.service.map(|service| service.0));
                info!(cause = key, kind, severity, service, line = cause.headline, drill = cause.drill, "cause is raised");
                self.held.insert(key.clone(), Held { not_after, size, ..Held::new(cause, now) });
                self.fresh.push(key.clone());
                self.dirty.insert(key);
            }
        }
    }

    async fn look(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let rules: Vec<Arc<Rule>> = self.args.alerts.rules.list().iter().map(|stored| stored.rule.clone()).collect();
        for seen in self.args.sources.look(&self.held, &rules, self.last_look, now).await? {
            match seen {
                Seen::Holds { cause, not_after, size } => self.raised(cause, not_after, size, now),
                Seen::Over { key, at } => self.take(CauseMove::Cleared { key, at }, now),
            }
        }
        let forgotten: Vec<String> = self
            .held
            .values()
            .filter(|held| held.cause.drill && held.holds() && now.since(held.cause.since) > LONGEST_DRILL)
            .map(|held| held.cause.key.clone())
            .collect();
        forgotten.into_iter().for_each(|key| self.take(CauseMove::Cleared { key, at: now }, now));
        Ok(())
    }

    /// Finds out which failures follow from which, as things stand now.
    fn collapse(&mut self, now: Timestamp) {
        let failing = self.failing();
        let mut follow: Vec<(String, ServiceId)> = Vec::new();
        for held in self.held.values_mut().filter(|held| held.holds() && may_follow(&held.cause)) {
            let Some(service) = held.cause.service else { continue };
            let root = self.kin.graph.root(&failing, service);
            if root == held.consequence_of {
                continue;
            }
            match &root {
                Some(root) => {
                    debug!(cause = held.cause.key, root, "cause follows from another");
                    follow.push((root.clone(), service));
                    held.released_at = None;
                }
                None => {
                    // It may be well again, too: nobody has looked yet.
                    held.released_at = Some(now);
                    (self.args.check_now)(service);
                }
            }
            held.consequence_of = root;
            self.dirty.insert(held.cause.key.clone());
        }
        for (root, service) in follow {
            if let Some(held) = self.held.get_mut(&root)
                && held.consequences.insert(service)
            {
                self.dirty.insert(root);
            }
        }
    }

    fn failing(&self) -> Failing {
        let incidents = self.held.values().filter(|held| held.cause.kind == CauseKind::Incident && held.holds() && !held.cause.drill);
        incidents.filter_map(|held| Some((held.cause.service?, (held.cause.since, held.cause.key.clone())))).collect()
    }

    /// At a new failure those it may follow from, and those that may follow from it, are checked at once: else they would be heard of
    /// an interval later.
    fn ask_relatives(&mut self) {
        let failing = self.failing();
        let mut asked: BTreeSet<ServiceId> = BTreeSet::new();
        for key in std::mem::take(&mut self.fresh) {
            let Some(held) = self.held.get(&key) else { continue };
            let Some(service) = held.cause.service.filter(|service| failing.contains_key(service) && held.consequence_of.is_none()) else {
                continue;
            };
            let kin = self.kin.graph.ancestors(service).into_iter().chain(self.kin.graph.descendants(service));
            asked.extend(kin.filter(|other| !failing.contains_key(other)).take(MOST_ASKED));
        }
        asked.into_iter().take(MOST_ASKED).for_each(|service| (self.args.check_now)(service));
    }

    /// Plans all that is held, and writes what came of it.
    async fn tell(&mut self, now: Timestamp) -> Result<Round, StoreError> {
        let rules: Vec<Arc<Rule>> = self.args.alerts.rules.list().iter().map(|stored| stored.rule.clone()).collect();
        let names: BTreeMap<ChannelId, String> =
            self.args.exits.list().into_iter().filter(|exit| exit.enabled).map(|exit| (exit.id, exit.name)).collect();
        let mut round = Round::default();
        let mut commits = Vec::new();
        let mut order: Vec<&Held> = self.held.values().collect();
        order.sort_by_key(|held| (held.cause.since, &held.cause.key));
        for held in order {
            let mut next = held.clone();
            let mut deliveries = Vec::new();
            let mut done = held.cleared_at.is_some();
            for rule in rules.iter().filter(|rule| rule.enabled) {
                let progress = held.progress.get(&rule.id).cloned().unwrap_or_default();
                let wanted = wants(rule, held, |service| self.kin.facts.get(&service));
                if !wanted && progress.raised_at.is_none() {
                    continue;
                }
                let situation = Situation { now, not_before: self.not_before(held), muted: self.muted(rule, held, now) };
                let planned = plan(rule, held, &progress, wanted, situation);
                done &= planned.done;
                round.next = round.next.into_iter().chain(planned.next).min();
                if planned.progress != Progress::default() {
                    next.progress.insert(rule.id, planned.progress);
                }
                for due in planned.due {
                    let mine = |channel: &ChannelId| {
                        names.contains_key(channel) && !told_by_another(&rules, &next, rule.id, due.telling, *channel)
                    };
                    for channel in due.channels.iter().copied().filter(mine) {
                        let seq = self.args.alerts.deliveries.number(now);
                        let id = delivery_id(rule.id, due.telling.name(), due.number, channel, &held.cause.key);
                        let message = message(&self.words(rule), held, due.telling, &id, self.named(held, due.telling));
                        let channel_name = names.get(&channel).cloned().unwrap_or_default();
                        let planned = Delivery::planned(seq, channel, channel_name, now, message);
                        deliveries.push(Delivery { rule: rule.id, service: held.cause.service, ..planned });
                    }
                }
            }
            round.planned += deliveries.len();
            round.held += usize::from(!done);
            if done || next.progress != held.progress || self.dirty.contains(&held.cause.key) {
                commits.push(Commit { held: next, settled: done, deliveries });
            }
        }
        self.args.alerts.commit(&commits).await?;
        round.planned += self.pass_on(&names, now).await?;
        for commit in commits {
            let key = commit.held.cause.key.clone();
            self.dirty.remove(&key);
            match commit.settled {
                true => drop(self.held.remove(&key)),
                false => drop(self.held.insert(key, commit.held)),
            }
        }
        Ok(round)
    }

    /// Words for people go the way of every telling; one whose channel is gone has nobody to go to.
    async fn pass_on(&mut self, names: &BTreeMap<ChannelId, String>, now: Timestamp) -> Result<usize, StoreError> {
        let mut deliveries = Vec::new();
        for word in &self.words {
            let Some(name) = names.get(&word.channel) else {
                warn!(word = word.key, channel = word.channel.0, "a word for a user finds no channel");
                continue;
            };
            let seq = self.args.alerts.deliveries.number(now);
            deliveries.push(personal(word, seq, name, self.args.public_url.as_deref(), now));
        }
        self.args.alerts.add(&deliveries).await?;
        self.words.clear();
        Ok(deliveries.len())
    }

    fn not_before(&self, held: &Held) -> Timestamp {
        let service = held.cause.service.filter(|_| may_follow(&held.cause));
        let hold = match service {
            Some(service) if self.kin.graph.has_relatives(service) => self.args.settings.hold,
            _ => Duration::ZERO,
        };
        let released = held.released_at.map_or(Timestamp(i64::MIN), |at| at.plus(self.args.settings.settle));
        held.cause.since.plus(hold).max(released)
    }

    fn muted(&self, rule: &Rule, held: &Held, now: Timestamp) -> bool {
        if held.cause.drill {
            return false;
        }
        // Where the rule does not tell the root, what follows from it is told.
        let told_by_root = held.consequence_of.as_ref().is_some_and(|root| match self.held.get(root) {
            Some(root) => wants_kind(rule, &root.cause, root.size),
            None => true,
        });
        told_by_root || held.cause.service.is_some_and(|service| (self.args.in_maintenance)(service, held.cleared_at.unwrap_or(now)))
    }

    /// The names of those that fail because of a cause; of one that is over, of all that did.
    fn named(&self, held: &Held, telling: Telling) -> Vec<String> {
        if held.consequences.is_empty() {
            return Vec::new();
        }
        let following = self.held.values().filter(|other| other.holds() && other.consequence_of.as_ref() == Some(&held.cause.key));
        let following: BTreeSet<ServiceId> = following.filter_map(|other| other.cause.service).collect();
        let follows = |service: &ServiceId| telling == Telling::Recovered || following.contains(service);
        let mut names: Vec<String> =
            held.consequences.iter().filter(|service| follows(service)).filter_map(|service| self.kin.name(*service)).collect();
        names.sort();
        names
    }

    fn words<'a>(&'a self, rule: &'a Rule) -> message::Words<'a> {
        message::Words { rule: &rule.name, public_url: self.args.public_url.as_deref(), name: Box::new(|service| self.kin.name(service)) }
    }

    async fn forget(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.last_forget.is_some_and(|last| now.since(last) < FORGET_EVERY) {
            return Ok(());
        }
        let before = now.minus(self.args.settings.retain);
        let before_public = now.minus(self.args.settings.give_up + KEPT_PUBLIC);
        while self.args.alerts.deliveries.forget(before, before_public).await? > 0 {}
        while self.args.alerts.causes.forget(before).await? > 0 {}
        self.last_forget = Some(now);
        Ok(())
    }
}

impl Kin {
    fn refresh(&mut self, services: &Services) {
        let list = services.list();
        if Arc::ptr_eq(&list, &self.of) {
            return;
        }
        let facts = |service: &Arc<StoredService>| Facts {
            name: service.name().to_owned(),
            tags: service.document.tags.clone(),
            group: service.document.group.clone(),
        };
        self.facts = list.iter().map(|service| (service.id, facts(service))).collect();
        self.graph = Graph::new(list.iter().map(|service| (service.id, service.name(), service.document.depends_on.as_slice())));
        self.of = list;
    }

    fn name(&self, service: ServiceId) -> Option<String> {
        self.facts.get(&service).map(|facts| facts.name.clone())
    }
}

/// Whether another rule was the first to tell a channel of a cause and tells it this, too: nobody is told the same twice.
fn told_by_another(rules: &[Arc<Rule>], held: &Held, mine: RuleId, telling: Telling, channel: ChannelId) -> bool {
    let told_at = |rule: RuleId| held.progress.get(&rule).and_then(|progress| progress.raised_at);
    rules.iter().filter(|other| other.enabled && other.id != mine).any(|other| {
        let first = held.progress.get(&other.id).is_some_and(|progress| {
            progress.raised_at.is_some() && progress.channels.contains(&channel) && (progress.raised_at, other.id) < (told_at(mine), mine)
        });
        first
            && match telling {
                Telling::Raised => true,
                Telling::Repeated => other.repeat.is_some(),
                Telling::Acknowledged => other.tell_acknowledged,
                Telling::Recovered => other.tell_recovered,
                // That nobody has taken it on yet is news to who was told before.
                Telling::Escalated | Telling::Word | Telling::Test => false,
            }
    })
}

/// Whether a cause may be the consequence of another service's failure.
fn may_follow(cause: &Cause) -> bool {
    !cause.drill && matches!(cause.kind, CauseKind::Incident | CauseKind::Degraded | CauseKind::Finding | CauseKind::Burn)
}

fn delivery_id(rule: RuleId, telling: &str, number: u32, channel: ChannelId, cause: &str) -> String {
    let number = if number == 0 { String::new() } else { number.to_string() };
    format!("r{rule}-{telling}{number}-c{channel}-{cause}")
}
