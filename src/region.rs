//! A region's process: schedule → prober → outbox → courier → hub.

pub mod outbox_file;
