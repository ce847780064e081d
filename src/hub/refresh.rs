//! Copies of what the store holds, read again after the store was in doubt.
//!
//! Services, users and channels are in memory too. A change whose answer was lost may have been made, or be made a little later: whenever
//! Services, users and issues are in memory too. A change whose answer was lost may have been made, or be made a little later: whenever
//! the store says that this is possible, all are read again, at once and when every call of then must have ended.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use crate::clock::Clock;
use crate::store::channels::Channels;
use crate::store::connection::Database;
use crate::store::issues::Issues;
use crate::store::services::Services;
use crate::store::users::Users;
use crate::supervise::Task;

const PAUSE: Duration = Duration::from_secs(1);
/// Longer than any call takes at the server.
const LATE: Duration = Duration::from_secs(15);

/// Works until the task is dropped; `None` where the store cannot be in doubt. `changed` is called when services are not what
/// they were.
pub fn start(
    database: &Database,
    services: Arc<Services>,
    users: Arc<Users>,
    channels: Arc<Channels>,
    issues: Arc<Issues>,
    clock: Clock,
    changed: impl Fn() + Send + Sync + 'static,
) -> Option<Task> {
    let mut doubts = database.doubts()?;
    Some(Task::spawn(async move {
        while doubts.changed().await.is_ok() {
            for late in [false, true] {
                if late {
                    clock.sleep(LATE).await;
                }
                loop {
                    match refresh(&services, &users, &channels).await {
                    match refresh(&services, &users, &issues).await {
                        Ok(true) => {
                            info!("services are not what they were before the store was away");
                            changed();
                        }
                        Ok(false) => {}
                        Err(err) => {
                            debug!("services, users and channels cannot be read again yet: {err:#}");
                            debug!("services, users and issues cannot be read again yet: {err:#}");
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

async fn refresh(services: &Services, users: &Users, channels: &Channels) -> anyhow::Result<bool> {
    users.refresh().await?;
    channels.refresh().await?;
async fn refresh(services: &Services, users: &Users, issues: &Issues) -> anyhow::Result<bool> {
    users.refresh().await?;
    issues.refresh().await?;
    Ok(services.refresh().await?)
}
