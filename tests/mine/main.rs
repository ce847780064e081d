#![allow(dead_code)]
mod api;
mod api_world;
mod binary;
mod config;
mod issues;
mod readme;
mod regions_world;
mod target;
mod tidy;
mod world;
mod perf;
