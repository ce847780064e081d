//! The tests of the public edge, as one program, so that the database is linked once.

mod api;
mod api_world;
mod store;
