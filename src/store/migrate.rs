//! Brings the schema of a store to what this program expects.
//!
//! Migrations are numbered files, applied in order, each in one transaction with the record that says so. A file that
//! was applied never changes again: its checksum is held against the store at every start.

use aws_lc_rs::digest::{SHA256, digest};
use surrealdb::types::Value;

use crate::store::codec::hex;
use crate::store::connection::{Database, StoreError};
use crate::store::values::{record, rows};

#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// From 1, rising by one.
    pub number: i64,
    pub name: &'static str,
    pub text: &'static str,
}

pub const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "0001_results.surql", text: include_str!("schema/0001_results.surql") },
    Migration { number: 2, name: "0002_people.surql", text: include_str!("schema/0002_people.surql") },
    Migration { number: 3, name: "0003_incidents_rollups.surql", text: include_str!("schema/0003_incidents_rollups.surql") },
    Migration { number: 4, name: "0004_nodes.surql", text: include_str!("schema/0004_nodes.surql") },
    Migration { number: 5, name: "0005_clock_offset.surql", text: include_str!("schema/0005_clock_offset.surql") },
    Migration { number: 6, name: "0006_findings.surql", text: include_str!("schema/0006_findings.surql") },
    Migration { number: 7, name: "0007_digests.surql", text: include_str!("schema/0007_digests.surql") },
    Migration { number: 8, name: "0008_endpoints.surql", text: include_str!("schema/0008_endpoints.surql") },
    Migration { number: 9, name: "0009_alerts.surql", text: include_str!("schema/0009_alerts.surql") },
    Migration { number: 10, name: "0010_channels.surql", text: include_str!("schema/0010_channels.surql") },
    Migration { number: 11, name: "0011_windows.surql", text: include_str!("schema/0011_windows.surql") },
    Migration { number: 12, name: "0012_slos.surql", text: include_str!("schema/0012_slos.surql") },
    Migration { number: 13, name: "0013_issues.surql", text: include_str!("schema/0013_issues.surql") },
    Migration { number: 14, name: "0014_system.surql", text: include_str!("schema/0014_system.surql") },
    Migration { number: 15, name: "0015_web_sessions.surql", text: include_str!("schema/0015_web_sessions.surql") },
    Migration { number: 16, name: "0016_failing.surql", text: include_str!("schema/0016_failing.surql") },
    Migration { number: 17, name: "0017_user_channels.surql", text: include_str!("schema/0017_user_channels.surql") },
    Migration { number: 18, name: "0018_keys_and_codes.surql", text: include_str!("schema/0018_keys_and_codes.surql") },
    Migration { number: 19, name: "0019_identities.surql", text: include_str!("schema/0019_identities.surql") },
    Migration { number: 20, name: "0020_subscribers.surql", text: include_str!("schema/0020_subscribers.surql") },
    Migration { number: 21, name: "0021_left.surql", text: include_str!("schema/0021_left.surql") },
    Migration { number: 22, name: "0022_unwatched.surql", text: include_str!("schema/0022_unwatched.surql") },
];

/// Applies what the store lacks. It refuses a store made by a newer program, and one made with other files than these.
pub async fn run(database: &Database, migrations: &[Migration]) -> Result<(), StoreError> {
    let table = "BEGIN; DEFINE TABLE IF NOT EXISTS schema_migration SCHEMAFULL;
        DEFINE FIELD IF NOT EXISTS name ON schema_migration TYPE string;
        DEFINE FIELD IF NOT EXISTS checksum ON schema_migration TYPE string; COMMIT";
    database.query(table, vec![]).await?;
    let mut found = database.query("SELECT * FROM schema_migration", vec![]).await?;
    let applied = rows(&mut found, 0)?;
    let known = migrations.iter().map(|migration| migration.number).max().unwrap_or(0);
    for row in &applied {
        let number = row.key_number()?;
        let Some(migration) = migrations.iter().find(|migration| migration.number == number) else {
            return Err(StoreError::Newer { found: number, known });
        };
        if row.text("checksum")? != checksum(migration.text) {
            return Err(StoreError::Drift { name: migration.name.to_owned() });
        }
    }
    for migration in migrations.iter().skip(applied.len()) {
        let text = format!("BEGIN;\n{};\nCREATE $id CONTENT {{ name: $name, checksum: $checksum }} RETURN NONE;\nCOMMIT", migration.text);
        let values = vec![
            ("id", record("schema_migration", migration.number)),
            ("name", Value::String(migration.name.to_owned())),
            ("checksum", Value::String(checksum(migration.text))),
        ];
        database.query(&text, values).await?;
    }
    Ok(())
}

fn checksum(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}
