//! What drives the pages as a person would: a browser, a hub of the real binary, and a target that can be broken.

pub mod driver;
pub mod http;
pub mod hub;
pub mod judge;
pub mod target;

use std::path::PathBuf;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

/// A file or folder named by the environment; tests/run sets them all.
pub fn named(variable: &str) -> PathBuf {
    std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| panic!("{variable} must name a file; tests/run sets it"))
}

/// Looks again until there is something, for as long as a person would be patient.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    patiently(look).unwrap_or_else(|| panic!("never came: {what}"))
}

/// The same; nothing where it never came.
pub fn patiently<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}
