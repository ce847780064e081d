//! How much one user or one address may ask: requests, log-ins, and the wait that grows with failed log-ins.
//!
//! All of it is in memory: a restart forgives. Time is the program's clock, so it stands still where that stands still.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::config::sections::ApiSettings;

/// Failed log-ins of one name that cost no wait.
const FREE_FAILURES: u32 = 5;
const LONGEST_LOCK: Duration = Duration::from_secs(15 * 60);
/// Names remembered for their failures, known or not; a bound, for anyone can think of names.
const NAMES: usize = 10_000;
/// Every so many requests, those who have been quiet are forgotten.
const SWEEP: u32 = 4096;

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, Steady, NoOpMiddleware<Duration>>;

/// All limits of the API.
pub struct Throttle {
    clock: Clock,
    users: Limiter<String>,
    addresses: Limiter<IpAddr>,
    logins: Limiter<IpAddr>,
    subscriptions: Limiter<IpAddr>,
    failures: Mutex<HashMap<String, Failures>>,
    asked: AtomicU32,
}

struct Failures {
    count: u32,
    /// Clock time until which the name is locked.
    until: Duration,
}

impl Throttle {
    /// `subscriptions`: to the status page, from one address within an hour.
    pub fn new(settings: &ApiSettings, subscriptions: u32, clock: Clock) -> Throttle {
        let hourly = Quota::per_hour(NonZeroU32::new(subscriptions).unwrap_or(NonZeroU32::MIN));
        let quota = |a_minute: u32| Quota::per_minute(NonZeroU32::new(a_minute).unwrap_or(NonZeroU32::MIN));
        let steady = Steady(clock.clone());
        Throttle {
            users: RateLimiter::new(quota(settings.requests_per_minute), DashMapStateStore::default(), steady.clone()),
            addresses: RateLimiter::new(quota(settings.requests_per_minute), DashMapStateStore::default(), steady.clone()),
            logins: RateLimiter::new(quota(settings.logins_per_minute), DashMapStateStore::default(), steady.clone()),
            subscriptions: RateLimiter::new(hourly, DashMapStateStore::default(), steady),
            failures: Mutex::new(HashMap::new()),
            asked: AtomicU32::new(0),
            clock,
        }
    }

    /// Counts a request of a user; the wait, if it was one too many.
    pub fn user(&self, username: &str) -> Result<(), Duration> {
        self.sweep();
        check(&self.users, &username.to_owned(), &self.clock)
    }

    /// Counts a request nobody answers for by a token.
    pub fn address(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.sweep();
        check(&self.addresses, &network(address), &self.clock)
    }

    /// Counts a log-in.
    pub fn login(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.sweep();
        check(&self.logins, &network(address), &self.clock)
    }

    /// Counts a request to be told what the status page tells.
    pub fn subscription(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.sweep();
        check(&self.subscriptions, &network(address), &self.clock)
    }

    /// The wait until a name may try to log in again.
    pub fn locked(&self, username: &str) -> Result<(), Duration> {
        let failures = self.failures.lock().expect("no holder panics");
        let now = self.clock.steady();
        match failures.get(username) {
            Some(failures) if failures.until > now => Err(failures.until - now),
            _ => Ok(()),
        }
    }

    /// Remembers a failed log-in: from the sixth in a row each doubles the wait, from one second to a quarter of an hour.
    pub fn failed(&self, username: &str) {
        let mut failures = self.failures.lock().expect("no holder panics");
        let now = self.clock.steady();
        if failures.len() >= NAMES && !failures.contains_key(username) {
            failures.retain(|_, failures| failures.until > now);
            if failures.len() >= NAMES {
                failures.clear();
            }
        }
        let entry = failures.entry(username.to_owned()).or_insert(Failures { count: 0, until: Duration::ZERO });
        entry.count = entry.count.saturating_add(1);
        if let Some(beyond) = entry.count.checked_sub(FREE_FAILURES + 1) {
            entry.until = now + Duration::from_secs(1 << beyond.min(20)).min(LONGEST_LOCK);
        }
    }

    pub fn succeeded(&self, username: &str) {
        self.failures.lock().expect("no holder panics").remove(username);
    }

    fn sweep(&self) {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.users.retain_recent();
            self.addresses.retain_recent();
            self.logins.retain_recent();
            self.subscriptions.retain_recent();
        }
    }
}

fn check<K: std::hash::Hash + Eq + Clone>(limiter: &Limiter<K>, key: &K, clock: &Clock) -> Result<(), Duration> {
    limiter.check_key(key).map_err(|not_until| not_until.wait_time_from(clock.steady()))
}

/// What counts as one address: of IPv6 the /64, for one customer has all of it.
fn network(address: Option<IpAddr>) -> IpAddr {
    match address {
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => {
                let s = address.segments();
                IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
            }
        },
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The program's clock as governor asks for it.
#[derive(Clone)]
struct Steady(Clock);

impl governor::clock::Clock for Steady {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.steady()
    }
}
