//! The only SurrealQL of the program: connection, migrations, and a file for each family of tables.
//!
//! [`connection`] is a thin layer over an embedded or a remote SurrealDB; everything above it is the same for both.
//! Results are packed: [`journal`] takes batches as they come and is what "stored" means, [`tail`] holds in memory what is
//! not yet packed, [`seal`] packs it into [`blocks`], [`query`] and [`statistics`] read across all of them. What blocks come
//! to over minutes, hours and days is made by [`roll`] and read by [`rollups`].
//!
//! **Invariant.** One process writes one store. A result is in exactly one place at any instant a reader can see: in the
//! tail or in a block.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::sections::StoreSettings;
use crate::store::connection::{Database, StoreError};
use crate::store::results::Results;

pub mod connection;
pub mod migrate;

pub mod blocks;
pub mod claim;
pub mod codec;
pub mod columns;
pub mod details;
pub mod directory;
pub mod hours;
pub mod journal;
pub mod ledgers;
pub mod query;
pub mod results;
pub mod retention;
pub mod roll;
pub mod rollup_codec;
pub mod rollups;
pub mod scan;
pub mod seal;
pub mod statistics;
pub mod tail;
pub mod uptimes;
pub mod values;

pub mod alerts;
pub mod analyst;
pub mod api_keys;
pub mod audit;
pub mod channels;
pub mod digests;
pub mod endpoints;
pub mod findings;
pub mod incidents;
pub mod issues;
pub mod news;
pub mod nodes;
pub mod second_factors;
pub mod secrets;
pub mod services;
pub mod sessions;
pub mod shelf;
pub mod slos;
pub mod subscribers;
pub mod system;
pub mod users;
pub mod web_sessions;
pub mod windows;

/// Everything that is stored, opened and ready.
#[derive(Debug)]
pub struct Store {
    pub database: Arc<Database>,
    pub results: Arc<Results>,
}

impl Store {
    /// Opens the database, migrates it and rebuilds what lives in memory.
    pub async fn open(settings: &StoreSettings, clock: Clock) -> Result<Store, StoreError> {
        let database = Arc::new(Database::open(settings).await?);
        let opened = async {
            migrate::run(&database, migrate::MIGRATIONS).await?;
            Results::open(database.clone(), settings, clock).await
        };
        match opened.await {
            Ok(results) => Ok(Store { database, results: Arc::new(results) }),
            Err(error) => {
                // The lock on the folder is given back; what went wrong first is what is told.
                let _ = database.shutdown().await;
                Err(error)
            }
        }
    }

    /// Succeeds where the database answers; the embedded one as well as a server.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.database.query("RETURN 1", Vec::new()).await.map(drop)
    }

    /// Closes the database and waits until it is closed. Handles that others still hold fail from here on.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        self.database.shutdown().await
    }
}
