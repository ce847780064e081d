//! Reads the command line and calls one function.

use std::process::ExitCode;

/// Checks make and free many small pieces on all threads; measured against the C library's, this allocator takes about a
/// tenth less of the CPU a check costs, and gives back what is freed.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An arena for each of two threads is plenty, and pages that are free go back to the system after a second.
// SAFETY: the allocator reads a C string here, and it ends with a zero.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 47] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    probemesh::cli::main()
}
