//! The far end of a log's queue: writes what comes out of it and keeps the account of what was lost.
//!
//! The queue and its thread are `tracing_appender`'s: putting an entry in never waits, and an entry that finds no room is counted
//! there. That crate says nothing of it, nor of entries that could not be written; so this does, between the thread and the writer.
//! Trouble is told once when it begins and once when it is over, not for each entry; want of room when the queue has run empty.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// How many entries of one log were lost. Cheap to clone.
#[derive(Clone, Default)]
pub struct Losses(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Known once the queue is made, which is after its writer.
    no_room: OnceLock<ErrorCounter>,
    unwritten: AtomicU64,
}

struct Sink<W> {
    name: &'static str,
    writer: W,
    losses: Losses,
    /// Of those that found no room, how many have been told of.
    told: u64,
    /// Entries lost since the writer began to fail.
    failing: u64,
}

/// A queue of at most `entries` with a thread that writes them. Dropping the guard ends the thread; what is put in after that
/// is lost.
pub fn spawn(name: &'static str, writer: impl Write + Send + 'static, entries: usize) -> (NonBlocking, WorkerGuard, Losses) {
    let losses = Losses::default();
    let sink = Sink { name, writer, losses: losses.clone(), told: 0, failing: 0 };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(entries).thread_name(name);
    let (queue, guard) = builder.finish(sink);
    losses.0.no_room.get_or_init(|| queue.error_counter());
    (queue, guard, losses)
}

impl Losses {
    /// For want of room or because they could not be written.
    pub fn count(&self) -> u64 {
        self.no_room() + self.0.unwritten.load(Ordering::Relaxed)
    }

    fn no_room(&self) -> u64 {
        self.0.no_room.get().map_or(0, |counter| counter.dropped_lines() as u64)
    }
}

impl<W: Write> Write for Sink<W> {
    /// Takes one entry, and never fails: the thread would only forget the error.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        match self.writer.write_all(entry).and_then(|()| self.writer.flush()) {
            Ok(()) if self.failing > 0 => {
                tracing::warn!(log = self.name, entries = self.failing, "log can be written again, lines were lost");
                self.failing = 0;
            }
            Ok(()) => {}
            Err(err) => {
                if self.failing == 0 {
                    tracing::error!(log = self.name, "log cannot be written: {err}");
                }
                self.failing += 1;
                self.losses.0.unwritten.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(entry.len())
    }

    /// Called when the queue has run empty, so that what is said here finds room.
    fn flush(&mut self) -> io::Result<()> {
        let no_room = self.losses.no_room();
        if no_room > self.told {
            tracing::warn!(log = self.name, entries = no_room - self.told, "log queue was full, lines were lost");
            self.told = no_room;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a write only when it is let, and hands on what it took.
    struct Gate(mpsc::Receiver<bool>, mpsc::Sender<String>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.0.recv().unwrap_or(true) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let _ = self.1.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (Gate, mpsc::Sender<bool>, mpsc::Receiver<String>) {
        let (open, opened) = mpsc::channel();
        let (took, taken) = mpsc::channel();
        (Gate(opened, took), open, taken)
    }

    #[test]
    fn a_stalled_writer_holds_nobody_up_and_what_found_no_room_is_counted() {
        let (gate, open, taken) = gate();
        let (mut queue, guard, losses) = spawn("test", gate, 2);
        queue.write_all(b"first\n").expect("never fails");
        open.send(true).expect("open");
        assert_eq!(taken.recv().expect("written"), "first\n");
        for _ in 0..5 {
            queue.write_all(b"12345\n").expect("never fails");
        }
        // One may be on its way to the writer; of the others two fit.
        let lost = losses.count();
        assert!((2..=3).contains(&lost), "{lost}");
        drop(open);
        drop(guard);
        let written: String = taken.iter().collect();
        assert_eq!(written.lines().count() as u64, 5 - lost);
        while losses.count() == lost {
            queue.write_all(b"too late\n").expect("never fails");
        }
    }

    #[test]
    fn entries_that_cannot_be_written_are_counted_and_the_next_go_on() {
        let (gate, open, taken) = gate();
        let (mut queue, guard, losses) = spawn("test", gate, 100);
        for (entry, possible) in [("a\n", false), ("b\n", false), ("c\n", true)] {
            queue.write_all(entry.as_bytes()).expect("never fails");
            open.send(possible).expect("open");
        }
        assert_eq!(taken.recv().expect("written"), "c\n");
        assert_eq!(losses.count(), 2);
        drop(open);
        drop(guard);
    }
}
