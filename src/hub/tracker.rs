//! Wires the issue tracker: its desk, and whoever opens issues by itself.

use std::sync::Arc;

use anyhow::Context;
use ractor::{Actor, ActorRef};
use tokio::sync::{broadcast, mpsc};
use tracing::info;

use crate::alert::inbox::Inbox;
use crate::alert::sources::incidents::key_of;
use crate::api::events::Event;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::records::Records;
use crate::hub::tree::Tree;
use crate::maintenance::windows::Windows;
use crate::model::alert::{CauseMove, Word};
use crate::store::users::Users;
use crate::supervise::{Keeper, KeeperArgs, KeeperMsg, Task, Wiring};
use crate::tracker::desk::Tracker;
use crate::tracker::notify::Note;
use crate::tracker::opener::{Opener, OpenerArgs};
use crate::tracker::rounds::{Explained, Rounds};

/// The running tracker.
pub struct Tracking {
    pub tracker: Arc<Tracker>,
    pub keeper: ActorRef<KeeperMsg>,
    _notes: Task,
}

/// To be called when every node that may come is expected: a node nobody knows is taken for one that was revoked.
pub async fn start(
    records: &Records,
    config: &Config,
    windows: &Arc<Windows>,
    events: &broadcast::Sender<Arc<Event>>,
    tree: &Tree,
    inbox: &Inbox,
    clock: &Clock,
) -> anyhow::Result<Tracking> {
    let (notes, asked) = mpsc::unbounded_channel();
    let tracker = Arc::new(Tracker {
        issues: records.issues.clone(),
        users: records.users.clone(),
        services: records.services.clone(),
        incidents: records.incidents.clone(),
        findings: records.findings.clone(),
        events: events.clone(),
        notes,
        clock: clock.clone(),
    });
    let (causes, covering, dated) = (records.alerts.clone(), windows.clone(), clock.clone());
    let explained: Explained = Arc::new(move |incident, service| {
        causes.causes.consequence_of(&key_of(incident)).is_some() || covering.covers(service, dated.now()).is_some()
    });
    let opener = OpenerArgs {
        rounds: Arc::new(Rounds {
            tracker: tracker.clone(),
            settings: config.tracker.clone(),
            membership: tree.membership.clone(),
            region: tree.region.clone(),
            explained,
            clock: clock.clone(),
            seen: std::sync::Mutex::default(),
        }),
        events: events.clone(),
        clock: clock.clone(),
        status: tree.opener.clone(),
    };
    let args = KeeperArgs {
        name: "tracker",
        wiring: wiring(opener),
        restart: config.region.restart.clone(),
        clock: clock.clone(),
        status: tree.tracker.clone(),
    };
    let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("keeper of the tracker cannot be started")?;
    let notes = pass_on(asked, records.users.clone(), inbox.clone(), clock.clone());
    Ok(Tracking { tracker, keeper, _notes: notes })
}

/// A group of its own: whatever becomes of it, incidents are seen and told.
fn wiring(opener: OpenerArgs) -> Wiring {
    Box::new(move |keeper| {
        let opener = opener.clone();
        Box::pin(async move {
            let (opener, _) = Actor::spawn_linked(None, Opener, opener, keeper).await?;
            Ok(vec![("opener".to_owned(), opener.get_cell())])
        })
    })
}

/// Who is to be told of what is told by their channel; of those who have none it stands in the log.
fn pass_on(mut notes: mpsc::UnboundedReceiver<Note>, users: Arc<Users>, inbox: Inbox, clock: Clock) -> Task {
    Task::spawn(async move {
        while let Some(note) = notes.recv().await {
            let channel = users.channel(&note.user);
            info!(
                user = note.user,
                issue = note.issue.0,
                key = note.key,
                text = note.text,
                channel = channel.map(|id| id.0),
                "word for a user"
            );
            if let Some(channel) = channel {
                let (path, at) = (format!("/issues/{}", note.issue), clock.now());
                inbox.say(CauseMove::Word(Word { key: note.key, channel, headline: note.text, path, at }));
            }
        }
    })
}
