//! One test program for all: each part of it drives one feature from the outside.

mod probe;
mod target;
