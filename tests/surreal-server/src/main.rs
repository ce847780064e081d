//! The SurrealDB server of the tests: the whole command line of `surreal`, of the version the program is built with.

use std::io::Read;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A test program that dies takes its servers along: the pipe it held is closed.
    if std::env::var_os("END_WITH_STDIN").is_some() {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
    }
    surrealdb_server::init(surrealdb_server::core::CommunityComposer())
}
