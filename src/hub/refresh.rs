//! Copies of what the store holds, read again after the store was in doubt.
//!
//! Services, users, channels and issues are in memory too. A change whose answer was lost may have been made, or be made a little later:
//! whenever the store says that this is possible, all are read again, at once and when every call of then must have ended.
//! Services, users, maintenance windows and objectives are in memory too. A change whose answer was lost may have been made, or be made a little later: whenever
//! the store says that this is possible, all are read again, at once and when every call of then must have ended.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use crate::clock::Clock;
use crate::hub::records::Records;
use crate::store::channels::Channels;
use crate::store::issues::Issues;
use crate::store::services::Services;
use crate::store::slos::Slos;
use crate::store::users::Users;
use crate::store::windows::WindowStore;
use crate::supervise::Task;

const PAUSE: Duration = Duration::from_secs(1);
/// Longer than any call takes at the server.
const LATE: Duration = Duration::from_secs(15);

struct Copies {
    services: Arc<Services>,
    users: Arc<Users>,
    channels: Arc<Channels>,
    issues: Arc<Issues>,
}

/// Works until the task is dropped; `None` where the store cannot be in doubt. `changed` is called when services are not what
/// they were.
pub fn start(records: &Records, clock: &Clock, changed: impl Fn() + Send + Sync + 'static) -> Option<Task> {
    let mut doubts = records.store.database.doubts()?;
    let Records { services, users, channels, issues, .. } = records;
    let copies = Copies { services: services.clone(), users: users.clone(), channels: channels.clone(), issues: issues.clone() };
    let clock = clock.clone();
/// What is in memory.
pub struct Copies {
    pub services: Arc<Services>,
    pub users: Arc<Users>,
    pub windows: Arc<WindowStore>,
    pub slos: Arc<Slos>,
}

/// Works until the task is dropped; `None` where the store cannot be in doubt. `changed` is called when anything but
/// users is not what it was.
pub fn start(database: &Database, copies: Copies, clock: Clock, changed: impl Fn() + Send + Sync + 'static) -> Option<Task> {
    let mut doubts = database.doubts()?;
    Some(Task::spawn(async move {
        while doubts.changed().await.is_ok() {
            for late in [false, true] {
                if late {
                    clock.sleep(LATE).await;
                }
                loop {
                    match copies.refresh().await {
                    match refresh(&copies).await {
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
        self.channels.refresh().await?;
        self.issues.refresh().await?;
        Ok(self.services.refresh().await?)
    }
async fn refresh(copies: &Copies) -> anyhow::Result<bool> {
    copies.users.refresh().await?;
    let services = copies.services.refresh().await?;
    let windows = copies.windows.refresh().await?;
    Ok(copies.slos.refresh().await? || services || windows)
}
