//! One test program for all, so that the large dependencies are linked once: each part drives one feature from the outside.

mod api;
mod api_world;
mod bench_detector;
mod binary;
mod blocks;
mod config;
mod heartbeat;
mod hub_lost;
mod incidents;
mod ingest;
mod joining;
mod monitor;
mod probe;
mod process;
mod readme;
mod region;
mod rollups;
mod server;
mod server_faults;
mod store;
mod target;
mod telemetry;
mod tidy;
mod witness;
mod world;
