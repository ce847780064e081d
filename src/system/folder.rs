//! What lies in a folder and what is left on its disk. All of it blocks.

use std::path::Path;

/// Files looked at in one folder; more are not counted.
const MOST_FILES: usize = 200_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub total_bytes: u64,
    /// What this process may still write: less than what is free where some is kept for root.
    pub free_bytes: u64,
}

impl Disk {
    pub fn free_percent(self) -> f64 {
        if self.total_bytes == 0 { 0.0 } else { self.free_bytes as f64 * 100.0 / self.total_bytes as f64 }
    }
}

/// The disk a folder lies on; `None` where the system does not tell.
pub fn disk(folder: &Path) -> Option<Disk> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    // SAFETY: the path ends with a zero, the struct is plain numbers, and the call writes nothing but it.
    let about = unsafe {
        let mut about: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut about) == 0).then_some(about)?
    };
    let block = about.f_frsize;
    // What is neither free nor in use is kept for root, and is no room of ours.
    let kept = about.f_bfree.saturating_sub(about.f_bavail);
    Some(Disk { total_bytes: about.f_blocks.saturating_sub(kept) * block, free_bytes: about.f_bavail * block })
}

/// Bytes of the files in a folder and below; `None` where it cannot be read. A file that goes meanwhile is none.
pub fn size(folder: &Path) -> Option<u64> {
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![std::fs::read_dir(folder).ok()?];
    while let Some(entries) = folders.pop() {
        for entry in entries.flatten() {
            files += 1;
            if files > MOST_FILES {
                return Some(bytes);
            }
            // Links are not followed: what they lead to lies elsewhere.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                folders.extend(std::fs::read_dir(entry.path()));
            } else {
                bytes += about.len();
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_depths_are_summed_and_links_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).expect("it is made");
        std::fs::write(folder.path().join("one"), [0; 100]).expect("it is written");
        std::fs::write(below.join("two"), [0; 50]).expect("it is written");
        let alone = size(folder.path()).expect("it is there");
        std::os::unix::fs::symlink("/", below.join("root")).expect("it is linked");
        let linked = size(folder.path()).expect("it is there");
        assert!(alone == 150 && linked < 200, "{alone} {linked}");
        assert_eq!(size(&folder.path().join("none")), None);
    }

    #[test]
    fn a_disk_has_room() {
        let disk = disk(Path::new("/")).expect("there is one");
        assert!(disk.free_bytes <= disk.total_bytes && (0.0..=100.0).contains(&disk.free_percent()), "{disk:?}");
        assert_eq!(super::disk(Path::new("/there/is/no/such/place")), None);
    }
}
