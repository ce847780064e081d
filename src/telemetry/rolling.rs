//! A log file that is put aside when it grows too large or too old, a fixed number of old ones being kept.
//!
//! The live file keeps its name; `name.1` is the youngest put aside. The crates for this each lack one half: they turn a file over by
//! size or by age but not by both, and by age they give the live file a dated name. So this is done here.
//!
//! Age is counted in periods of Unix time: a day is from midnight to midnight UTC. The period of a file found on opening is that of
//! its last write, so a process that restarts often puts its log aside all the same.
//!
//! **Invariant**: the files together hold `file_bytes × (files + 1)` at most, but for a single line longer than `file_bytes`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;

use crate::clock::Clock;
use crate::model::time::micros;

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub file_bytes: u64,
    pub file_age: Duration,
    pub files: u32,
}

pub struct RollingFile {
    path: PathBuf,
    bounds: Bounds,
    clock: Clock,
    file: File,
    size: u64,
    period: i64,
    /// The file ends within a line, as a full disk or a lost power supply leave it.
    torn: bool,
}

impl RollingFile {
    pub fn open(path: PathBuf, bounds: Bounds, clock: Clock) -> anyhow::Result<RollingFile> {
        let (file, size) = open(&path).with_context(|| format!("cannot open the log {}", path.display()))?;
        let mut rolling = RollingFile { path, bounds, clock, file, size, period: 0, torn: false };
        rolling.torn = rolling.ends_torn();
        rolling.period = if size == 0 { rolling.period_now() } else { rolling.period_of_file() };
        rolling.prune().with_context(|| format!("cannot remove an old file of the log {}", rolling.path.display()))?;
        Ok(rolling)
    }

    /// Writes whole lines, turning over between them as often as the size asks for.
    fn write_lines(&mut self, mut lines: &[u8]) -> io::Result<()> {
        self.reopen_if_gone()?;
        let now = self.period_now();
        if now > self.period {
            if self.size > 0 {
                self.turn_over()?;
            }
            self.period = now;
        }
        if self.torn {
            if self.size > 0 && self.ends_torn() {
                self.file.write_all(b"\n")?;
                self.size += 1;
            }
            self.torn = false;
        }
        while !lines.is_empty() {
            let room = usize::try_from(self.bounds.file_bytes.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let fitting = fitting(lines, room);
            if fitting == 0 && self.size > 0 {
                self.turn_over()?;
                continue;
            }
            // A line that no file has room for gets one of its own.
            let length = if fitting == 0 { first_line(lines) } else { fitting };
            self.file.write_all(&lines[..length]).inspect_err(|_| {
                // A part may have been written; the count must not fall behind it.
                self.size = self.file.metadata().map_or(self.size, |metadata| metadata.len());
                self.torn = true;
            })?;
            self.size += length as u64;
            lines = &lines[length..];
        }
        Ok(())
    }

    /// Someone who removes the live file wants the space back, not a log that goes nowhere.
    fn reopen_if_gone(&mut self) -> io::Result<()> {
        if matches!(std::fs::metadata(&self.path), Err(err) if err.kind() == io::ErrorKind::NotFound) {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            (self.file, self.size) = open(&self.path)?;
        }
        Ok(())
    }

    fn ends_torn(&self) -> bool {
        let mut last = [b'\n'];
        let read = self.file.metadata().and_then(|metadata| match metadata.len().checked_sub(1) {
            Some(at) => (&self.file).seek(io::SeekFrom::Start(at)).and_then(|_| (&self.file).read_exact(&mut last)),
            None => Ok(()),
        });
        read.is_ok() && last != [b'\n']
    }

    fn turn_over(&mut self) -> io::Result<()> {
        if self.bounds.files == 0 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        for number in (1..self.bounds.files).rev() {
            rename(&self.aside(number), &self.aside(number + 1))?;
        }
        rename(&self.path, &self.aside(1))?;
        (self.file, self.size) = open(&self.path)?;
        self.prune()
    }

    /// Removes what is beyond the bounds, be it that they were wider once.
    fn prune(&self) -> io::Result<()> {
        let Some(name) = self.path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut aside = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.parse::<u64>().ok());
            if let Some(number) = number {
                aside.push((number, entry.metadata()?.len(), entry.path()));
            }
        }
        aside.sort();
        let most = self.bounds.file_bytes.saturating_mul(u64::from(self.bounds.files));
        let mut total = 0u64;
        for (number, size, path) in aside {
            total = total.saturating_add(size);
            // The youngest may be one overlong line; it stays until the next.
            if number > u64::from(self.bounds.files) || (total > most && number > 1) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn period_now(&self) -> i64 {
        self.clock.now().0.div_euclid(micros(self.bounds.file_age).max(1))
    }

    fn period_of_file(&self) -> i64 {
        let written = self.file.metadata().and_then(|metadata| metadata.modified()).ok();
        let since = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        micros(since).div_euclid(micros(self.bounds.file_age).max(1))
    }
}

impl Write for RollingFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.write_lines(lines)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Bytes of the whole lines that fit into `room`.
fn fitting(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |newline| newline + 1)
}
