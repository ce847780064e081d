//! The end of a log that rolls over, read for people: whole lines, the newest last.
//!
//! **Invariant.** However long the logs are, no more of them is read than asked for.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The last lines of a log and, where it has just been put aside, of the file before it; `most` bytes at most. A log that is
/// not there has none.
pub fn last_lines(path: &Path, most: u64) -> io::Result<Vec<String>> {
    let (live, whole) = end_of(path, most)?;
    // Between the end of a file and that of the one before there must be nothing that was left out.
    let mut text = if whole { end_of(&put_aside(path), most - live.len() as u64)?.0 } else { Vec::new() };
    text.extend(live);
    Ok(String::from_utf8_lossy(&text).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The youngest of the files that were put aside.
fn put_aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// Whole lines at the end of a file, `most` bytes at most, and whether they are all of it.
fn end_of(path: &Path, most: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    let from = size.saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    if from > 0 {
        // The first line may have begun before.
        let begins = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |place| place + 1);
        bytes.drain(..begins);
    }
    Ok((bytes, from == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_goes_back_over_the_file_put_aside_in_whole_lines_and_no_further_than_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("monitor.log");
        assert_eq!(last_lines(&log, 100).expect("a log that is not there is empty"), Vec::<String>::new());
        std::fs::write(folder.path().join("monitor.log.1"), "one\ntwo\nthree\n").expect("it is written");
        std::fs::write(&log, "four\nfive\n").expect("it is written");
        assert_eq!(last_lines(&log, 100).expect("it is read"), ["one", "two", "three", "four", "five"]);
        assert_eq!(last_lines(&log, 17).expect("it is read"), ["three", "four", "five"]);
        assert_eq!(last_lines(&log, 7).expect("it is read"), ["five"]);
        std::fs::write(&log, format!("{}\nsix\n", "x".repeat(80))).expect("it is written");
        assert_eq!(last_lines(&log, 50).expect("it is read"), ["six"], "what is between is not skipped");
    }
}
