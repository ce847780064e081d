//! Alerts: rules, causes and deliveries.
//!
//! A round of the dispatcher is one transaction: a cause and what is to be told of it are written together or not at all.
//!
//! **Invariant.** Ids of causes and deliveries follow from what they are: writing the same again makes nothing new, and a
//! delivery that is there is left as it is.

pub mod causes;
pub mod deliveries;
pub mod rows;
pub mod rules;

use std::sync::Arc;

use crate::clock::Clock;
use crate::model::held::{Delivery, Held};
use crate::store::alerts::causes::Causes;
use crate::store::alerts::deliveries::Deliveries;
use crate::store::alerts::rows::{cause_row, delivery_row};
use crate::store::alerts::rules::Rules;
use crate::store::audit::Audit;
use crate::store::connection::{Database, StoreError};
use crate::store::values::array;

/// Causes written in one transaction at most.
const SLICE: usize = 100;

#[derive(Debug)]
pub struct Alerts {
    pub rules: Rules,
    pub causes: Causes,
    pub deliveries: Deliveries,
    database: Arc<Database>,
}

/// What a round has to write of one cause.
#[derive(Clone, Debug)]
pub struct Commit {
    pub held: Held,
    pub settled: bool,
    pub deliveries: Vec<Delivery>,
}

impl Alerts {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<Alerts, StoreError> {
        Ok(Alerts {
            rules: Rules::open(database.clone(), audit.clone(), clock.clone()).await?,
            causes: Causes::open(database.clone()).await?,
            deliveries: Deliveries::open(database.clone(), audit, clock).await?,
            database,
        })
    }

    /// Writes deliveries that belong to no cause.
    pub async fn add(&self, deliveries: &[Delivery]) -> Result<(), StoreError> {
        for slice in deliveries.chunks(SLICE) {
            let made = slice.iter().map(delivery_row).collect::<Result<Vec<_>, _>>()?;
            let text = "INSERT IGNORE INTO alert_delivery $deliveries RETURN NONE";
            self.database.query(text, vec![("deliveries", array(made))]).await?;
            self.deliveries.made(slice.iter());
        }
        Ok(())
    }

    /// Writes causes and their new deliveries, and makes them known to whoever delivers.
    pub async fn commit(&self, commits: &[Commit]) -> Result<(), StoreError> {
        let text = "BEGIN;
            INSERT INTO alert_cause $causes ON DUPLICATE KEY UPDATE severity = $input.severity, service = $input.service,
                acknowledged_at = $input.acknowledged_at, cleared_at = $input.cleared_at, consequence_of = $input.consequence_of,
                settled = $input.settled, data = $input.data RETURN NONE;
            INSERT IGNORE INTO alert_delivery $deliveries RETURN NONE;
            COMMIT";
        for slice in commits.chunks(SLICE) {
            let causes = slice.iter().map(|commit| cause_row(&commit.held, commit.settled)).collect::<Result<Vec<_>, _>>()?;
            let made = || slice.iter().flat_map(|commit| &commit.deliveries);
            let deliveries = made().map(delivery_row).collect::<Result<Vec<_>, _>>()?;
            self.database.query(text, vec![("causes", array(causes)), ("deliveries", array(deliveries))]).await?;
            slice.iter().for_each(|commit| self.causes.remember(&commit.held, commit.settled));
            self.deliveries.made(made());
        }
        Ok(())
    }
}
