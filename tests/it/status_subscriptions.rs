//! Subscriptions to the public status page: at the door, and what those who came in are told.

mod door;
mod told;
