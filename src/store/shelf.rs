//! A table whose rows are all in memory, too, by number, so that lists and look-ups never query.
//!
//! **Invariants.** Changes take turns, reach the store first and the shelf after. A number is never given twice, even after
//! its row was deleted.

use std::sync::{Arc, RwLock};

use surrealdb::types::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::store::audit::corrupt as unfit;
use crate::store::connection::{Database, StoreError};
use crate::store::values::{corrupt, text};

/// What has a number of its own within its table.
pub trait Numbered {
    fn number(&self) -> u32;
}

#[derive(Debug)]
pub struct Shelf<T> {
    /// By number.
    all: RwLock<Arc<Vec<Arc<T>>>>,
    turn: Mutex<()>,
}

impl<T: Numbered> Shelf<T> {
    /// `all` is in the order of the numbers.
    pub fn new(all: Vec<Arc<T>>) -> Shelf<T> {
        Shelf { all: RwLock::new(Arc::new(all)), turn: Mutex::new(()) }
    }

    /// Waits until nobody else changes anything.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// All of them, by number.
    pub fn all(&self) -> Arc<Vec<Arc<T>>> {
        self.all.read().expect("no holder panics").clone()
    }

    pub fn get(&self, number: u32) -> Option<Arc<T>> {
        let all = self.all();
        let index = all.binary_search_by_key(&number, |one| one.number()).ok()?;
        Some(all[index].clone())
    }

    /// Puts one in the place of that with its number, or where its number belongs.
    pub fn put(&self, one: Arc<T>) {
        self.alter(|all| match all.binary_search_by_key(&one.number(), |other| other.number()) {
            Ok(index) => all[index] = one,
            Err(index) => all.insert(index, one),
        });
    }

    /// The same for many, whose numbers are above all there are.
    pub fn put_last(&self, many: Vec<Arc<T>>) {
        self.alter(|all| all.extend(many));
    }

    pub fn remove(&self, number: u32) {
        self.alter(|all| all.retain(|one| one.number() != number));
    }

    fn alter(&self, alter: impl FnOnce(&mut Vec<Arc<T>>)) {
        let mut all = self.all.write().expect("no holder panics");
        let mut next = all.as_ref().clone();
        alter(&mut next);
        *all = Arc::new(next);
    }
}

impl<T: Numbered + PartialEq> Shelf<T> {
    /// Puts what was read again in the place of all; whether anything is not as it was known.
    pub fn renew(&self, found: Vec<Arc<T>>) -> bool {
        let mut all = self.all.write().expect("no holder panics");
        let changed = **all != found;
        if changed {
            *all = Arc::new(found);
        }
        changed
    }
}

/// The next number of a counter. One that is lost to a failure in between is a gap, and a gap is no harm.
pub async fn next_number(database: &Database, counter: &'static str) -> Result<u32, StoreError> {
    last_number_of(database, counter, 1).await
}

/// The last of so many next numbers, all of which are taken.
pub async fn last_number_of(database: &Database, counter: &'static str, count: u32) -> Result<u32, StoreError> {
    let query = "UPSERT ONLY type::record('counter', $counter) SET value += $count RETURN VALUE value";
    let values = vec![("counter", text(counter)), ("count", Value::from_t(i64::from(count)))];
    let mut answer = database.query(query, values).await?;
    let number: Option<i64> = answer.take(0).map_err(|error| unfit("counter", &error))?;
    let fitting = number.and_then(|number| u32::try_from(number).ok());
    fitting.ok_or_else(|| corrupt("counter", format!("{number:?} is not a number that {counter} can have")))
}

/// Whether a counter was never asked for a number.
pub async fn untouched(database: &Database, counter: &'static str) -> Result<bool, StoreError> {
    let query = "SELECT VALUE value FROM ONLY type::record('counter', $counter)";
    let mut answer = database.query(query, vec![("counter", text(counter))]).await?;
    let number: Option<i64> = answer.take(0).map_err(|error| unfit("counter", &error))?;
    Ok(number.is_none())
}
