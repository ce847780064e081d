//! Copies of what the store holds, read again after the store was in doubt.
//!
//! Services, users, maintenance windows and objectives are in memory too. A change whose answer was lost may have been made, or be made a little later: whenever
//! the store says that this is possible, all are read again, at once and when every call of then must have ended.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use crate::clock::Clock;
use crate::store::connection::Database;
use crate::store::services::Services;
use crate::store::slos::Slos;
use crate::store::users::Users;
use crate::store::windows::WindowStore;
use crate::supervise::Task;

const PAUSE: Duration = Duration::from_secs(1);
/// Longer than any call takes at the server.
const LATE: Duration = Duration::from_secs(15);

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
                    match refresh(&copies).await {
                        Ok(true) => {
                            info!("services, windows or objectives are not what they were before the store was away");
                            changed();
                        }
                        Ok(false) => {}
                        Err(err) => {
                            debug!("services and users cannot be read again yet: {err:#}");
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

async fn refresh(copies: &Copies) -> anyhow::Result<bool> {
    copies.users.refresh().await?;
    let services = copies.services.refresh().await?;
    let windows = copies.windows.refresh().await?;
    Ok(copies.slos.refresh().await? || services || windows)
}
