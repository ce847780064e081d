//! The command line: one file a subcommand, each one function.

pub mod check_view;
