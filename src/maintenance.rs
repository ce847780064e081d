//! Maintenance: which services are in a window when, kept in memory, and told when it begins and ends.
//!
//! In a window a service is checked and its results are stored as ever; it is shown as in maintenance, nobody is told of
//! its incidents, and the span counts neither as up nor as known. All of that is applied where something is read: windows
//! change nothing that is stored, so one that is taken back leaves no trace.

pub mod keeper;
pub mod windows;
