//! The services watched: their documents, revisions and sealed secrets.
//!
//! All of them are also in memory, so that lists and summaries never query. Changes take turns, reach the store first and
//! memory after.
//!
//! **Invariants.** A number is never given twice, even after its service was deleted. Names are unique. A document lies in
//! the store without its secrets; these lie beside it, sealed for the service's number.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use surrealdb::types::{Bytes, SurrealValue, Value};
use thiserror::Error;

use crate::clock::Clock;
use crate::config::dependencies::{self, Dependencies};
use crate::config::mistake::Mistake;
use crate::config::service::{AuthDocument, ServiceDocument};
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt};
use crate::store::connection::{Database, StoreError};
use crate::store::secrets::{Secrets, SecretsError};
use crate::store::shelf::{Numbered, Shelf, last_number_of, next_number, untouched};

/// Services a seed stores in one transaction.
const AT_ONCE: usize = 200;

/// One service as it is kept. The document has its secrets in the clear: it never leaves the process as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredService {
    pub id: ServiceId,
    /// Rises with each change.
    pub revision: u64,
    pub document: ServiceDocument,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl StoredService {
    pub fn name(&self) -> &str {
        self.document.name.as_deref().unwrap_or_default()
    }

    pub fn enabled(&self) -> bool {
        self.document.enabled.unwrap_or(true)
    }
}

#[derive(Debug, Error)]
pub enum ServicesError {
    #[error("name {name:?} is taken by service {by}")]
    NameTaken { name: String, by: ServiceId },
    #[error("there is no service {id}")]
    Unknown { id: ServiceId },
    #[error("service {id} was changed meanwhile: it has revision {found}")]
    Changed { id: ServiceId, found: u64 },
    #[error("service {id} is what others depend on: {}", by.join(", "))]
    DependedOn { id: ServiceId, by: Vec<String> },
    #[error("{}", told(mistakes))]
    Dependencies { mistakes: Vec<Mistake> },
    #[error(transparent)]
    Secret(#[from] SecretsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What seeding did, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seeded {
    pub created: Vec<String>,
    pub updated: Vec<String>,
    pub unchanged: Vec<String>,
    /// Different from what is kept, and left as it is.
    pub skipped: Vec<String>,
}

/// The parts of a change's author that its audit row tells.
#[derive(Clone, Debug)]
pub struct Author {
    pub who: String,
    pub address: Option<std::net::IpAddr>,
}

#[derive(Debug)]
pub struct Services {
    database: Arc<Database>,
    secrets: Arc<Secrets>,
    audit: Arc<Audit>,
    clock: Clock,
    shelf: Shelf<StoredService>,
}

/// What is taken out of a document before it is stored.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Sealed {
    headers: BTreeMap<String, String>,
    body: Option<String>,
    auth: Option<AuthDocument>,
    proxy: Option<String>,
    client_key: Option<String>,
}

#[derive(SurrealValue)]
struct NewRow {
    name: String,
    revision: i64,
    document: String,
    sealed: Option<Bytes>,
    created_at: i64,
    updated_at: i64,
}

/// One of many that are stored at once.
#[derive(SurrealValue)]
struct PlacedRow {
    number: i64,
    row: NewRow,
}

#[derive(SurrealValue)]
struct Row {
    number: i64,
    revision: i64,
    document: String,
    sealed: Option<Bytes>,
    created_at: i64,
    updated_at: i64,
}

impl Numbered for StoredService {
    fn number(&self) -> u32 {
        self.id.0
    }
}

impl Services {
    /// Reads all there are. Fails when a secret cannot be opened: the key is not the one they were sealed with.
    pub async fn open(database: Arc<Database>, secrets: Arc<Secrets>, audit: Arc<Audit>, clock: Clock) -> Result<Services, ServicesError> {
        let known = read_all(&database, &secrets).await?;
        Ok(Services { database, secrets, audit, clock, shelf: Shelf::new(known) })
    }

    /// Reads all again, as after a change whose outcome was not told; whether anything is not as it was known.
    pub async fn refresh(&self) -> Result<bool, ServicesError> {
        let _turn = self.shelf.turn().await;
        let found = read_all(&self.database, &self.secrets).await?;
        Ok(self.shelf.renew(found))
    }

    /// Whether no service was ever made here.
    pub async fn untouched(&self) -> Result<bool, StoreError> {
        untouched(&self.database, "service").await
    }

    /// All of them, by number.
    pub fn list(&self) -> Arc<Vec<Arc<StoredService>>> {
        self.shelf.all()
    }

    pub fn get(&self, id: ServiceId) -> Option<Arc<StoredService>> {
        self.shelf.get(id.0)
    }

    pub fn find_by_name(&self, name: &str) -> Option<Arc<StoredService>> {
        self.list().iter().find(|service| service.name() == name).cloned()
    }

    /// Stores a new service under the next number. The document must have been checked.
    pub async fn create(&self, document: ServiceDocument, author: &Author) -> Result<Arc<StoredService>, ServicesError> {
        let _turn = self.shelf.turn().await;
        let document = tidied(document);
        self.checked_dependencies(&document, None)?;
        self.create_in_turn(document, author).await
    }

    /// Puts a checked document in the place of a service's own. `expected` is the revision it was made from, if that matters.
    pub async fn replace(
        &self,
        id: ServiceId,
        document: ServiceDocument,
        expected: Option<u64>,
        author: &Author,
    ) -> Result<Arc<StoredService>, ServicesError> {
        let _turn = self.shelf.turn().await;
        let document = tidied(document);
        self.checked_dependencies(&document, Some(id))?;
        let before = self.get(id).ok_or(ServicesError::Unknown { id })?;
        let replaced = self.replace_in_turn(id, document, expected, author).await?;
        if replaced.name() != before.name() {
            for child in self.depending_on(before.name()) {
                let mut document = child.document.clone();
                document.depends_on.iter_mut().filter(|name| *name == before.name()).for_each(|name| *name = replaced.name().to_owned());
                self.replace_in_turn(child.id, document, None, author).await?;
            }
        }
        Ok(replaced)
    }

    /// Forgets a service. What was measured stays; its number is never given again. One that others depend on is only let go of by
    /// `force`: they no longer depend on it then.
    pub async fn delete(&self, id: ServiceId, force: bool, author: &Author) -> Result<Arc<StoredService>, ServicesError> {
        let _turn = self.shelf.turn().await;
        let old = self.get(id).ok_or(ServicesError::Unknown { id })?;
        let children = self.depending_on(old.name());
        if !children.is_empty() && !force {
            let by = children.iter().map(|child| child.name().to_owned()).collect();
            return Err(ServicesError::DependedOn { id, by });
        }
        for child in children {
            let mut document = child.document.clone();
            document.depends_on.retain(|name| name != old.name());
            self.replace_in_turn(child.id, document, None, author).await?;
        }
        let change = change(author, "service.delete", id, Vec::new());
        self.audit
            .commit("DELETE type::record('service', $id) RETURN NONE;", vec![("id", Value::from_t(i64::from(id.0)))], &change)
            .await?;
        self.shelf.remove(id.0);
        Ok(old)
    }

    /// Takes in documents by name: those not known are created, many of them at once, those that differ are replaced if `update`
    /// says so.
    pub async fn seed(&self, documents: Vec<ServiceDocument>, update: bool) -> Result<Seeded, ServicesError> {
        let author = Author { who: "seed".to_owned(), address: None };
        let mut seeded = Seeded::default();
        let mut new: BTreeMap<String, ServiceDocument> = BTreeMap::new();
        let mut in_order = Vec::new();
        let _turn = self.shelf.turn().await;
        self.check_seed(&documents, update)?;
        for document in documents {
            let document = tidied(document);
            let name = document.name.clone().unwrap_or_default();
            if new.contains_key(&name) || in_order.len() == AT_ONCE {
                self.create_all_in_turn(std::mem::take(&mut in_order), &mut new, &author).await?;
            }
            match self.find_by_name(&name) {
                None => {
                    in_order.push(name.clone());
                    new.insert(name.clone(), document);
                    seeded.created.push(name);
                }
                Some(kept) if kept.document == document => seeded.unchanged.push(name),
                Some(kept) if update => {
                    self.replace_in_turn(kept.id, document, None, &author).await?;
                    seeded.updated.push(name);
                }
                Some(_) => seeded.skipped.push(name),
            }
        }
        self.create_all_in_turn(in_order, &mut new, &author).await?;
        Ok(seeded)
    }

    /// Services of names nobody has yet, in this order: their numbers are taken in one go, and they are stored in one transaction.
    async fn create_all_in_turn(
        &self,
        in_order: Vec<String>,
        new: &mut BTreeMap<String, ServiceDocument>,
        author: &Author,
    ) -> Result<(), ServicesError> {
        let documents: Vec<ServiceDocument> = in_order.iter().filter_map(|name| new.remove(name)).collect();
        let Some(count) = u32::try_from(documents.len()).ok().filter(|count| *count > 0) else { return Ok(()) };
        let last = last_number_of(&self.database, "service", count).await?;
        let now = self.clock.now();
        let made: Vec<Arc<StoredService>> = documents
            .into_iter()
            .zip(last - count + 1..)
            .map(|(document, number)| {
                Arc::new(StoredService { id: ServiceId(number), revision: 1, document, created_at: now, updated_at: now })
            })
            .collect();
        let mut rows = Vec::with_capacity(made.len());
        let mut changes = Vec::with_capacity(made.len());
        for service in &made {
            rows.push(PlacedRow { number: i64::from(service.id.0), row: self.row(service)? });
            let fields = changed(&ServiceDocument::default(), &service.document);
            changes.push(change(author, "service.create", service.id, fields));
        }
        let text = "FOR $service IN $services { CREATE type::record('service', $service.number) CONTENT $service.row RETURN NONE; };";
        self.audit.commit_all(text, vec![("services", Value::from_t(rows))], &changes).await?;
        self.shelf.put_last(made);
        Ok(())
    }

    async fn create_in_turn(&self, document: ServiceDocument, author: &Author) -> Result<Arc<StoredService>, ServicesError> {
        let name = document.name.clone().unwrap_or_default();
        if let Some(other) = self.find_by_name(&name) {
            return Err(ServicesError::NameTaken { name, by: other.id });
        }
        let id = ServiceId(next_number(&self.database, "service").await?);
        let now = self.clock.now();
        let service = Arc::new(StoredService { id, revision: 1, document, created_at: now, updated_at: now });
        let fields = changed(&ServiceDocument::default(), &service.document);
        let values = vec![("id", Value::from_t(i64::from(id.0))), ("row", self.row(&service)?.into_value())];
        let change = change(author, "service.create", id, fields);
        self.audit.commit("CREATE type::record('service', $id) CONTENT $row RETURN NONE;", values, &change).await?;
        self.shelf.put(service.clone());
        Ok(service)
    }

    async fn replace_in_turn(
        &self,
        id: ServiceId,
        document: ServiceDocument,
        expected: Option<u64>,
        author: &Author,
    ) -> Result<Arc<StoredService>, ServicesError> {
        let old = self.get(id).ok_or(ServicesError::Unknown { id })?;
        if expected.is_some_and(|expected| expected != old.revision) {
            return Err(ServicesError::Changed { id, found: old.revision });
        }
        let name = document.name.clone().unwrap_or_default();
        if let Some(other) = self.find_by_name(&name).filter(|other| other.id != id) {
            return Err(ServicesError::NameTaken { name, by: other.id });
        }
        let fields = changed(&old.document, &document);
        if fields.is_empty() {
            return Ok(old);
        }
        let service =
            Arc::new(StoredService { id, revision: old.revision + 1, document, created_at: old.created_at, updated_at: self.clock.now() });
        let values = vec![("id", Value::from_t(i64::from(id.0))), ("row", self.row(&service)?.into_value())];
        let change = change(author, "service.update", id, fields);
        // One that is carried out late, after its caller was told that the store is away, must not undo what came after it.
        let text = "LET $kept = type::record('service', $id); \
                    IF $kept.revision != $row.revision - 1 { THROW 'service was changed meanwhile' }; \
                    UPDATE $kept CONTENT $row RETURN NONE;";
        self.audit.commit(text, values, &change).await?;
        self.shelf.put(service.clone());
        Ok(service)
    }

    /// What is wrong with what a document depends on, as the service of this number or as a new one.
    pub fn dependency_mistakes(&self, document: &ServiceDocument, id: Option<ServiceId>) -> Vec<Mistake> {
        let name = document.name.as_deref().unwrap_or_default().trim().to_owned();
        let old = id.and_then(|id| self.get(id));
        let mut all = self.dependencies();
        if let Some(old) = &old {
            all.remove(old.name());
            // Who depends on it follows it to its new name.
            all.values_mut().flatten().filter(|other| *other == old.name()).for_each(|other| other.clone_from(&name));
        }
        all.insert(name.clone(), document.depends_on.clone());
        dependencies::check(&all, &name, true)
    }

    fn checked_dependencies(&self, document: &ServiceDocument, id: Option<ServiceId>) -> Result<(), ServicesError> {
        let mistakes = self.dependency_mistakes(document, id);
        if mistakes.is_empty() { Ok(()) } else { Err(ServicesError::Dependencies { mistakes }) }
    }

    /// A seed is held against what there will be when all of it is in.
    fn check_seed(&self, documents: &[ServiceDocument], update: bool) -> Result<(), ServicesError> {
        let mut all = self.dependencies();
        let mut taken = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let name = document.name.as_deref().unwrap_or_default().trim().to_owned();
            if update || !all.contains_key(&name) {
                all.insert(name.clone(), document.depends_on.clone());
                taken.push((index, name));
            }
        }
        let wrong = taken.iter().flat_map(|(index, name)| {
            dependencies::check(&all, name, true).into_iter().map(move |mistake| mistake.inside(&format!("services[{index}]")))
        });
        let mistakes: Vec<Mistake> = wrong.collect();
        if mistakes.is_empty() { Ok(()) } else { Err(ServicesError::Dependencies { mistakes }) }
    }

    fn dependencies(&self) -> Dependencies {
        self.list().iter().map(|service| (service.name().to_owned(), service.document.depends_on.clone())).collect()
    }

    /// Those that depend on a service of this name.
    pub fn depending_on(&self, name: &str) -> Vec<Arc<StoredService>> {
        self.list().iter().filter(|service| service.document.depends_on.iter().any(|other| other == name)).cloned().collect()
    }

    fn row(&self, service: &StoredService) -> Result<NewRow, ServicesError> {
        let mut open = service.document.clone();
        let secrets = take_secrets(&mut open);
        let sealed = (secrets != Sealed::default()).then(|| {
            let clear = serde_json::to_vec(&secrets).expect("plain text always encodes");
            Bytes::from(self.secrets.seal(&place(service.id), &clear))
        });
        Ok(NewRow {
            name: service.name().to_owned(),
            revision: service.revision as i64,
            document: serde_json::to_string(&open).map_err(|error| unreadable(&error))?,
            sealed,
            created_at: service.created_at.0,
            updated_at: service.updated_at.0,
        })
    }
}

async fn read_all(database: &Database, secrets: &Secrets) -> Result<Vec<Arc<StoredService>>, ServicesError> {
    let mut answer = database.query("SELECT *, record::id(id) AS number OMIT id FROM service ORDER BY number", Vec::new()).await?;
    let rows: Vec<Row> = answer.take(0).map_err(|error| corrupt("service", &error))?;
    rows.into_iter().map(|row| read(row, secrets).map(Arc::new)).collect()
}

fn read(row: Row, secrets: &Secrets) -> Result<StoredService, ServicesError> {
    let id = ServiceId(row.number as u32);
    let mut document: ServiceDocument = serde_json::from_str(&row.document).map_err(|error| unreadable(&error))?;
    if let Some(sealed) = row.sealed {
        let clear = secrets.unseal(&place(id), &sealed)?;
        let taken: Sealed = serde_json::from_slice(&clear).map_err(|error| unreadable(&error))?;
        document.headers = taken.headers;
        document.body = taken.body;
        document.auth = taken.auth;
        document.proxy = taken.proxy;
        if let Some(key) = taken.client_key {
            document.tls.get_or_insert_default().client_key = Some(key);
        }
    }
    Ok(StoredService {
        id,
        revision: row.revision as u64,
        document,
        created_at: Timestamp(row.created_at),
        updated_at: Timestamp(row.updated_at),
    })
}

fn take_secrets(document: &mut ServiceDocument) -> Sealed {
    Sealed {
        headers: std::mem::take(&mut document.headers),
        body: document.body.take(),
        auth: document.auth.take(),
        proxy: document.proxy.take(),
        client_key: document.tls.as_mut().and_then(|tls| tls.client_key.take()),
    }
}

/// Names are compared as they are stored, so the blanks round them go first.
fn tidied(mut document: ServiceDocument) -> ServiceDocument {
    document.name = document.name.map(|name| name.trim().to_owned());
    document
}

/// The top-level fields in which two documents differ.
fn changed(old: &ServiceDocument, new: &ServiceDocument) -> Vec<String> {
    let fields = |document: &ServiceDocument| match serde_json::to_value(document) {
        Ok(Json::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let mut names: Vec<String> = old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

fn change(author: &Author, action: &'static str, id: ServiceId, fields: Vec<String>) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: place(id), fields }
}

fn told(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn place(id: ServiceId) -> String {
    format!("service:{id}")
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { what: "service", message: error.to_string() }
}
