//! Incidents as the store has them, held against the causes: what opened, closed or was taken on while nobody listened is taken in,
//! in its order and at its own time.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::debug;

use crate::alert::desk::Desk;
use crate::alert::sources::incidents::{cause_of, id_of, key_of};
use crate::model::alert::{CauseKind, CauseMove};
use crate::model::incident::IncidentId;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::query::ResultQuery;

/// What closed longer ago is history.
const LOOK_BACK: Duration = Duration::from_secs(86_400);
/// How far back a good check is looked for.
const LAST_GOOD_WITHIN: Duration = Duration::from_secs(86_400);
/// For one look; a message can do without.
const PATIENCE: Duration = Duration::from_secs(1);
/// Looked up in one round at most.
const MOST_LOOKED_UP: usize = 20;

impl Desk {
    pub(super) async fn reconcile(&mut self, first: bool, now: Timestamp) -> Result<(), StoreError> {
        let mut unlike: Vec<IncidentId> = Vec::new();
        let listed: BTreeMap<IncidentId, Option<Timestamp>> = self.args.incidents.since(now.minus(LOOK_BACK));
        for (id, closed_at) in &listed {
            let key = key_of(id);
            let differs = match self.held.get(&key) {
                Some(held) => held.holds() && closed_at.is_some() || first && held.acknowledged.is_none(),
                None => !self.args.alerts.causes.contains(&key),
            };
            if differs {
                unlike.push(id.clone());
            }
        }
        // One that was held and is not in that list is looked up by its name.
        let held = self.held.values().filter(|held| held.cause.kind == CauseKind::Incident && held.holds());
        unlike.extend(held.filter_map(|held| id_of(&held.cause.key)).filter(|id| !listed.contains_key(id)));
        let mut found = self.args.incidents.named(&unlike).await?;
        found.sort_by_key(|stored| stored.incident.opened_at);
        for stored in found {
            let incident = &stored.incident;
            let cause = cause_of(incident);
            let key = cause.key.clone();
            debug!(cause = key, "incident is taken from the store");
            self.take(CauseMove::Raised(cause), now);
            if let Some(by) = &stored.acknowledged {
                self.take(CauseMove::Acknowledged { key: key.clone(), by: by.by.clone(), note: String::new(), at: by.at }, now);
            }
            if let Some(at) = incident.closed_at {
                let over = if incident.unwatched { CauseMove::Unwatched { key, at } } else { CauseMove::Cleared { key, at } };
                self.take(over, now);
            }
        }
        Ok(())
    }

    /// When services that have just failed were last good.
    pub(super) async fn learn_last_good(&mut self) {
        for key in self.fresh.iter().take(MOST_LOOKED_UP) {
            let Some(held) = self.held.get_mut(key).filter(|held| held.cause.kind == CauseKind::Incident && !held.cause.drill) else {
                continue;
            };
            let query = ResultQuery {
                service: held.cause.service,
                since: Some(held.cause.since.minus(LAST_GOOD_WITHIN)),
                until: Some(held.cause.since),
                ok: Some(true),
                newest_first: true,
                page_size: 1,
                ..ResultQuery::default()
            };
            if let Ok(Ok(page)) = tokio::time::timeout(PATIENCE, self.args.results.page(&query)).await {
                held.cause.last_good = page.results.first().map(|found| found.result.started_at);
            }
        }
    }
}
