//! What the kernel tells of this process: CPU, memory, file descriptors, threads. `None` where it does not tell.

use std::time::Duration;

/// The size of a page where the kernel counts in them.
const PAGE: u64 = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Used since the process began, by all its threads.
    pub cpu: Option<Duration>,
    pub rss_bytes: Option<u64>,
    pub threads: Option<u64>,
    pub descriptors: Option<u64>,
    /// As many may be open.
    pub descriptors_limit: Option<u64>,
}

/// Reads some small files of the kernel's; it blocks for as long as that takes, which is with the descriptors in use.
pub fn look() -> Process {
    let stat = std::fs::read_to_string("/proc/self/stat").ok();
    // Behind the name, which may hold anything, fields are numbered from 3.
    let field = |number: usize| -> Option<u64> {
        let rest = stat.as_deref()?.rsplit_once(") ")?.1;
        rest.split(' ').nth(number - 3)?.parse().ok()
    };
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    Process {
        cpu: cpu_time(libc::RUSAGE_SELF),
        rss_bytes: pages.map(|pages| pages * PAGE),
        threads: field(20),
        // One of them is the one that is looking.
        descriptors: std::fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1)),
        descriptors_limit: descriptors_limit(),
    }
}

/// CPU time of the thread that asks.
pub fn thread_cpu() -> Duration {
    #[cfg(target_os = "linux")]
    let spent = cpu_time(libc::RUSAGE_THREAD);
    #[cfg(not(target_os = "linux"))]
    let spent = None;
    spent.unwrap_or_default()
}

fn cpu_time(whose: i32) -> Option<Duration> {
    // SAFETY: the struct is plain numbers, and the call writes nothing but it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::getrusage(whose, &mut usage) == 0).then_some(usage)?
    };
    let span = |time: libc::timeval| Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64);
    Some(span(usage.ru_utime) + span(usage.ru_stime))
}

fn descriptors_limit() -> Option<u64> {
    // SAFETY: the struct is plain numbers, and the call writes nothing but it.
    let limit = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        (libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0).then_some(limit)?
    };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_opens_starts_and_burns_is_seen() {
        let before = look();
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/proc/self/stat").expect("it is there")).collect();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        let burnt = thread_cpu();
        let mut sum = 0u64;
        while thread_cpu() - burnt < Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        let after = look();
        // Other tests run in this process, and open and close files of their own.
        assert!(after.descriptors.unwrap() + 10 > before.descriptors.unwrap() + 20, "{before:?} {after:?}");
        assert!(after.cpu.unwrap() - before.cpu.unwrap() >= Duration::from_millis(30), "{before:?} {after:?}");
        assert!(after.threads.unwrap() >= 2 && after.rss_bytes.unwrap() > 1 << 20 && after.descriptors_limit.unwrap() > 50, "{after:?}");
        drop((files, end));
        thread.join().expect("it ends").expect_err("nobody sent anything");
    }
}
