//! Nodes and join tokens as rows.

use surrealdb::types::{Bytes, SurrealValue};

use crate::mesh::identity::Identity;
use crate::model::id::{NodeName, RegionName};
use crate::model::time::Timestamp;
use crate::store::nodes::{NodeRecord, TokenRecord};

/// A token with its secret as it lies in the store.
#[derive(Clone)]
pub struct KeptToken {
    pub record: TokenRecord,
    pub sealed: Option<Vec<u8>>,
}

#[derive(SurrealValue)]
pub struct TokenRow {
    region: String,
    node: Option<String>,
    sealed: Option<Bytes>,
    created_at: i64,
    created_by: String,
    expires_at: i64,
    used_at: Option<i64>,
    used_by: Option<String>,
}

#[derive(SurrealValue)]
pub struct NamedTokenRow {
    pub name: String,
    region: String,
    node: Option<String>,
    sealed: Option<Bytes>,
    created_at: i64,
    created_by: String,
    expires_at: i64,
    used_at: Option<i64>,
    used_by: Option<String>,
}

#[derive(SurrealValue)]
pub struct NodeRow {
    region: String,
    serials: Vec<String>,
    not_after: i64,
    joined_at: i64,
    joined_by: String,
    renewed_at: Option<i64>,
    revoked_at: Option<i64>,
    last_seen: Option<i64>,
}

#[derive(SurrealValue)]
pub struct NamedNodeRow {
    pub name: String,
    region: String,
    serials: Vec<String>,
    not_after: i64,
    joined_at: i64,
    joined_by: String,
    renewed_at: Option<i64>,
    revoked_at: Option<i64>,
    last_seen: Option<i64>,
}

impl KeptToken {
    pub fn row(&self) -> TokenRow {
        let record = &self.record;
        TokenRow {
            region: record.region.to_string(),
            node: record.node.as_ref().map(NodeName::to_string),
            sealed: self.sealed.clone().map(Bytes::from),
            created_at: record.created_at.0,
            created_by: record.created_by.clone(),
            expires_at: record.expires_at.0,
            used_at: record.used_at.map(|at| at.0),
            used_by: record.used_by.as_ref().map(NodeName::to_string),
        }
    }
}

impl From<NamedTokenRow> for KeptToken {
    fn from(row: NamedTokenRow) -> KeptToken {
        let record = TokenRecord {
            id: row.name,
            region: RegionName::from(row.region.as_str()),
            node: row.node.as_deref().map(NodeName::from),
            created_at: Timestamp(row.created_at),
            created_by: row.created_by,
            expires_at: Timestamp(row.expires_at),
            used_at: row.used_at.map(Timestamp),
            used_by: row.used_by.as_deref().map(NodeName::from),
        };
        KeptToken { record, sealed: row.sealed.map(|sealed| sealed.to_vec()) }
    }
}

pub fn node_row(record: &NodeRecord) -> NodeRow {
    NodeRow {
        region: record.identity.region.to_string(),
        serials: record.serials.clone(),
        not_after: record.not_after.0,
        joined_at: record.joined_at.0,
        joined_by: record.joined_by.clone(),
        renewed_at: record.renewed_at.map(|at| at.0),
        revoked_at: record.revoked_at.map(|at| at.0),
        last_seen: record.last_seen.map(|at| at.0),
    }
}

impl From<NamedNodeRow> for NodeRecord {
    fn from(row: NamedNodeRow) -> NodeRecord {
        NodeRecord {
            identity: Identity { node: NodeName::from(row.name.as_str()), region: RegionName::from(row.region.as_str()) },
            serials: row.serials,
            not_after: Timestamp(row.not_after),
            joined_at: Timestamp(row.joined_at),
            joined_by: row.joined_by,
            renewed_at: row.renewed_at.map(Timestamp),
            revoked_at: row.revoked_at.map(Timestamp),
            last_seen: row.last_seen.map(Timestamp),
        }
    }
}
