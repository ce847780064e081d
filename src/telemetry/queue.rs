//! Lines on their way to a slow place: a bounded buffer, and one thread that writes all it finds there in one call.
//!
//! Putting a line in costs a copy under a lock that nobody holds while writing. Beyond the bound lines are counted instead of
//! kept. So too are lines that could not be written; trouble is told once when it begins and once when it is over, not for each line.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::fmt::MakeWriter;

/// How long the end of a process waits for lines still to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Owns the thread. Dropping it writes what waits.
pub struct Queue {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Puts lines in.
#[derive(Clone)]
pub struct QueueHandle(Arc<Shared>);

struct Shared {
    name: &'static str,
    bound: usize,
    state: Mutex<State>,
    /// Signalled when lines wait or the end has come.
    wake: Condvar,
    /// Signalled when the thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines that found no room since the last time that was told.
    dropped: u64,
    lost: u64,
    closing: bool,
    ended: bool,
}

impl Queue {
    pub fn start(name: &'static str, sink: impl Write + Send + 'static, bound: usize) -> anyhow::Result<Queue> {
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { name, bound, state, wake: Condvar::new(), ended: Condvar::new() });
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(sink));
        Ok(Queue { shared, thread: Some(thread.with_context(|| format!("cannot start the thread that writes {name}"))?) })
    }

    pub fn handle(&self) -> QueueHandle {
        QueueHandle(Arc::clone(&self.shared))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.wake.notify_one();
        while !state.ended {
            let (next, timeout) = self.shared.ended.wait_timeout(state, LAST_WORDS).expect("no holder panics");
            state = next;
            if timeout.timed_out() {
                // A terminal that takes nothing more must not keep the process from ending.
                return;
            }
        }
        drop(state);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl QueueHandle {
    /// Adds `count` whole lines; false if there was no room, and they count as lost.
    pub fn append(&self, count: u64, lines: &[u8]) -> bool {
        let mut state = self.0.lock();
        if state.waiting.len() >= self.0.bound || state.closing {
            state.dropped += count;
            state.lost += count;
            return false;
        }
        let was_empty = state.waiting.is_empty();
        state.waiting.extend_from_slice(lines);
        drop(state);
        if was_empty {
            self.0.wake.notify_one();
        }
        true
    }

    /// Lines lost so far, for want of room or because they could not be written.
    pub fn lost(&self) -> u64 {
        self.0.lock().lost
    }
}

impl Write for QueueHandle {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(1, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for QueueHandle {
    type Writer = QueueHandle;

    fn make_writer(&'a self) -> QueueHandle {
        self.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn run(&self, mut sink: impl Write) {
        let mut lines = Vec::new();
        let mut broken = false;
        let mut unwritten = 0;
        loop {
            let (dropped, closing) = {
                let mut state = self.lock();
                while state.waiting.is_empty() && !state.closing {
                    state = self.wake.wait(state).expect("no holder panics");
                }
                lines.clear();
                std::mem::swap(&mut lines, &mut state.waiting);
                (std::mem::take(&mut state.dropped), state.closing)
            };
            match sink.write_all(&lines).and_then(|()| sink.flush()) {
                Ok(()) if broken => {
                    broken = false;
                    tracing::warn!(log = self.name, lines = std::mem::take(&mut unwritten), "log can be written again, lines were lost");
                }
                Ok(()) => {}
                Err(err) => {
                    let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                    unwritten += count;
                    self.lock().lost += count;
                    if !broken {
                        broken = true;
                        tracing::error!(log = self.name, "log cannot be written: {err}");
                    }
                }
            }
            if dropped > 0 {
                tracing::warn!(log = self.name, lines = dropped, "log queue was full, lines were lost");
            }
            if closing && self.lock().waiting.is_empty() {
                break;
            }
        }
        self.lock().ended = true;
        self.ended.notify_all();
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

    fn gated(bound: usize) -> (Queue, mpsc::Sender<bool>, mpsc::Receiver<String>) {
        let (open, opened) = mpsc::channel();
        let (took, taken) = mpsc::channel();
        (Queue::start("test", Gate(opened, took), bound).expect("a thread"), open, taken)
    }

    #[test]
    fn a_stalled_sink_holds_nobody_up_and_what_found_no_room_is_counted() {
        let (queue, open, taken) = gated(10);
        let mut handle = queue.handle();
        handle.write_all(b"first\n").expect("never fails");
        open.send(true).expect("open");
        assert_eq!(taken.recv().expect("written"), "first\n");
        for _ in 0..5 {
            handle.write_all(b"12345\n").expect("never fails");
        }
        // One batch may be on its way to the sink; of the others two fit.
        let lost = handle.lost();
        assert!((1..=3).contains(&lost), "{lost}");
        drop(open);
        drop(queue);
        let written: String = taken.iter().collect();
        assert_eq!(written.lines().count() as u64, 5 - lost);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_next_go_on() {
        let (queue, open, taken) = gated(1000);
        queue.handle().append(2, b"a\nb\n");
        open.send(false).expect("open");
        while queue.handle().lost() < 2 {
            std::thread::yield_now();
        }
        queue.handle().append(1, b"c\n");
        open.send(true).expect("open");
        assert_eq!(taken.recv().expect("written"), "c\n");
        drop(open);
        drop(queue);
    }
}
