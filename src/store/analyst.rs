//! What the analyst has learnt of each series, packed by itself: kept so that a restart does not begin to learn anew.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::id::{RegionName, ServiceId};
use crate::store::connection::{Database, StoreError};
use crate::store::values::{array, bytes, int, object, record_of, rows, text};

#[derive(Clone, Debug)]
pub struct AnalystStates {
    database: Arc<Database>,
}

impl AnalystStates {
    pub fn new(database: Arc<Database>) -> AnalystStates {
        AnalystStates { database }
    }

    /// What was kept of a service, by region.
    pub async fn load(&self, service: ServiceId) -> Result<Vec<(RegionName, Bytes)>, StoreError> {
        // A key sorts before every longer one that begins with it.
        let values = vec![("service", int(service.0.into())), ("next", int(i64::from(service.0) + 1))];
        let mut answer = self.database.query("SELECT * FROM analyst_series:[$service]..[$next]", values).await?;
        rows(&mut answer, 0)?.iter().map(|row| Ok((RegionName::from(row.key()?.text(1)?), row.bytes("data")?))).collect()
    }

    pub async fn save(&self, states: Vec<(ServiceId, RegionName, Vec<u8>)>) -> Result<(), StoreError> {
        let row = |(service, region, data): (ServiceId, RegionName, Vec<u8>)| {
            let key = vec![int(service.0.into()), text(&region.0)];
            object([("id", record_of("analyst_series", key)), ("data", bytes(data))])
        };
        let statement = "INSERT INTO analyst_series $states ON DUPLICATE KEY UPDATE data = $input.data RETURN NONE";
        self.database.query(statement, vec![("states", array(states.into_iter().map(row)))]).await?;
        Ok(())
    }

    /// Lets go of what was learnt of a service.
    pub async fn forget(&self, service: ServiceId) -> Result<(), StoreError> {
        let values = vec![("service", int(service.0.into())), ("next", int(i64::from(service.0) + 1))];
        self.database.query("DELETE analyst_series:[$service]..[$next] RETURN NONE", values).await?;
        Ok(())
    }
}
