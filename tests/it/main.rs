//! One test program, so that the database is linked once.

mod store;
