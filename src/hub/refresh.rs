//! Copies of what the store holds, read again after the store was in doubt.
//!
//! Services, users, their keys and second factors, channels, alert rules, issues, subscribers, maintenance windows and objectives
//! are in memory too. A change whose answer was lost may have been made, or be made a little later: whenever the store says
//! that this is possible, all are read again, at once and when every call of then must have ended.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use crate::clock::Clock;
use crate::hub::records::Records;
use crate::store::alerts::Alerts;
use crate::store::api_keys::ApiKeys;
use crate::store::channels::Channels;
use crate::store::issues::Issues;
use crate::store::second_factors::SecondFactors;
use crate::store::services::Services;
use crate::store::slos::Slos;
use crate::store::subscribers::Subscribers;
use crate::store::users::Users;
use crate::store::windows::WindowStore;
use crate::supervise::Task;

const PAUSE: Duration = Duration::from_secs(1);
/// Longer than any call takes at the server.
const LATE: Duration = Duration::from_secs(15);

struct Copies {
    services: Arc<Services>,
    users: Arc<Users>,
    api_keys: Arc<ApiKeys>,
    second_factors: Arc<SecondFactors>,
    channels: Arc<Channels>,
    alerts: Arc<Alerts>,
    issues: Arc<Issues>,
    windows: Arc<WindowStore>,
    slos: Arc<Slos>,
    subscribers: Arc<Subscribers>,
}

/// Works until the task is dropped; `None` where the store cannot be in doubt. `changed` is called when services, windows or
/// objectives are not what they were.
pub fn start(records: &Records, clock: &Clock, changed: impl Fn() + Send + Sync + 'static) -> Option<Task> {
    let mut doubts = records.store.database.doubts()?;
    let copies = Copies {
        services: records.services.clone(),
        users: records.users.clone(),
        api_keys: records.api_keys.clone(),
        second_factors: records.second_factors.clone(),
        channels: records.channels.clone(),
        alerts: records.alerts.clone(),
        issues: records.issues.clone(),
        windows: records.windows.clone(),
        slos: records.slos.clone(),
        subscribers: records.subscribers.clone(),
    };
    let clock = clock.clone();
    Some(Task::spawn(async move {
        while doubts.changed().await.is_ok() {
            for late in [false, true] {
                if late {
                    clock.sleep(LATE).await;
                }
                loop {
                    match copies.refresh().await {
                        Ok(true) => {
                            info!("services, windows or objectives are not what they were before the store was away");
                            changed();
                        }
                        Ok(false) => {}
                        Err(err) => {
                            debug!("what is in memory cannot be read again yet: {err:#}");
                            clock.sleep(PAUSE).await;
                            continue;
                        }
                    }
                    break;
                }
            }
        }
    }))
}

impl Copies {
    async fn refresh(&self) -> anyhow::Result<bool> {
        self.users.refresh().await?;
        self.api_keys.refresh().await?;
        self.second_factors.refresh().await?;
        self.channels.refresh().await?;
        self.alerts.rules.refresh().await?;
        self.issues.refresh().await?;
        self.subscribers.refresh().await?;
        let services = self.services.refresh().await?;
        let windows = self.windows.refresh().await?;
        Ok(self.slos.refresh().await? || services || windows)
    }
}
