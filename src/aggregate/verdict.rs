//! Region states and verdicts, as pure rules.
//!
//! A region's state follows its own results in a row; a service's verdict follows the votes of its regions. A region that
//! was not heard of does not vote: silence is never taken for health, nor for trouble.

use std::time::Duration;

use crate::model::check::CheckResult;
use crate::model::id::CheckId;
use crate::model::service::Quorum;
use crate::model::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionStatus {
    Up,
    Down,
    Unknown,
}

impl RegionStatus {
    pub fn name(self) -> &'static str {
        match self {
            RegionStatus::Up => "up",
            RegionStatus::Down => "down",
            RegionStatus::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Up,
    Degraded,
    Down,
    Unknown,
    Disabled,
    /// Said in the place of any other while the service is in a maintenance window.
    Maintenance,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Up => "up",
            Verdict::Degraded => "degraded",
            Verdict::Down => "down",
            Verdict::Unknown => "unknown",
            Verdict::Disabled => "disabled",
            Verdict::Maintenance => "maintenance",
        }
    }
}

/// How many results in a row turn a region.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    pub failure: u32,
    pub success: u32,
}

/// A status and how near it is to turning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub status: RegionStatus,
    /// Results in a row that speak against the status.
    pub against: u32,
}

impl Turn {
    /// Before the first result.
    pub const UNHEARD: Turn = Turn { status: RegionStatus::Unknown, against: 0 };

    /// Takes the next result in, and says whether it turned the status.
    pub fn take(&mut self, ok: bool, thresholds: Thresholds) -> bool {
        let heard = if ok { RegionStatus::Up } else { RegionStatus::Down };
        if self.status == heard {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if ok { thresholds.success } else { thresholds.failure };
        // A first result is all that is known, whatever the threshold.
        let turned = self.status == RegionStatus::Unknown || self.against >= needed;
        if turned {
            *self = Turn { status: heard, against: 0 };
        }
        turned
    }
}

/// One region's state of one service, from its results in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streak {
    pub status: RegionStatus,
    /// When the status last changed.
    pub since: Timestamp,
    /// When the newest result counted was made, by the node's clock but never later than the hub's own.
    pub heard: Timestamp,
    newest: Option<CheckId>,
    /// Results in a row that speak against the status.
    against: u32,
}

impl Streak {
    /// Before the first result.
    pub fn start(at: Timestamp) -> Streak {
        Streak { status: RegionStatus::Unknown, since: at, heard: Timestamp(i64::MIN), newest: None, against: 0 }
    }

    /// Counts one result that reached the hub at `now`, and says whether it is news. One older than the newest counted is
    /// history and changes nothing. Within a node the order is that of its checks, whatever its clock did meanwhile; between
    /// nodes of a region there is only the clock.
    pub fn fold(&mut self, result: &CheckResult, thresholds: Thresholds, now: Timestamp) -> bool {
        let made = result.started_at.min(now);
        let news = match &self.newest {
            None => true,
            Some(newest) if newest.node == result.id.node => (result.id.boot, result.id.seq) > (newest.boot, newest.seq),
            Some(_) => made > self.heard,
        };
        if !news {
            return false;
        }
        self.newest = Some(result.id.clone());
        self.heard = made;
        let mut turn = Turn { status: self.status, against: self.against };
        if turn.take(result.ok(), thresholds) {
            self.since = made;
        }
        (self.status, self.against) = (turn.status, turn.against);
        true
    }

    /// Knows nothing of the status any more; the next result decides it. What is history stays history.
    pub fn forget(&mut self) {
        (self.status, self.against) = (RegionStatus::Unknown, 0);
    }

    /// The status at `now`: unknown once nothing was heard for three gaps between checks.
    pub fn status_at(&self, now: Timestamp, gap: Duration) -> RegionStatus {
        if now.since(self.heard) > silence(gap) { RegionStatus::Unknown } else { self.status }
    }
}

/// After so long without a result a region is unknown: three gaps, and a little for the check itself.
pub fn silence(gap: Duration) -> Duration {
    gap * 3 + Duration::from_secs(5)
}

/// One region's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    pub status: RegionStatus,
    /// Up, but slower than the service's `degraded_after_ms`.
    pub slow: bool,
}

/// The verdict of a service from the votes of its regions.
pub fn verdict(quorum: Quorum, votes: &[Vote]) -> Verdict {
    let voters = votes.iter().filter(|vote| vote.status != RegionStatus::Unknown).count();
    let down = votes.iter().filter(|vote| vote.status == RegionStatus::Down).count();
    if voters == 0 {
        return Verdict::Unknown;
    }
    let needed = match quorum {
        Quorum::Any => 1,
        Quorum::Majority => voters / 2 + 1,
        Quorum::All => voters,
        // A count larger than the voters would make a total outage invisible.
        Quorum::Count(count) => (count as usize).min(voters),
    };
    if down >= needed {
        return Verdict::Down;
    }
    let slow = votes.iter().any(|vote| vote.status == RegionStatus::Up && vote.slow);
    if down > 0 || slow { Verdict::Degraded } else { Verdict::Up }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(text: &str) -> Vec<Vote> {
        text.chars()
            .map(|letter| match letter {
                'u' => Vote { status: RegionStatus::Up, slow: false },
                's' => Vote { status: RegionStatus::Up, slow: true },
                'd' => Vote { status: RegionStatus::Down, slow: false },
                _ => Vote { status: RegionStatus::Unknown, slow: false },
            })
            .collect()
    }

    #[test]
    fn a_verdict_follows_its_quorum() {
        let table = [
            (Quorum::Majority, "", Verdict::Unknown),
            (Quorum::Majority, "??", Verdict::Unknown),
            (Quorum::Majority, "u", Verdict::Up),
            (Quorum::Majority, "d", Verdict::Down),
            (Quorum::Majority, "ud", Verdict::Degraded),
            (Quorum::Majority, "udd", Verdict::Down),
            (Quorum::Majority, "uud", Verdict::Degraded),
            (Quorum::Majority, "d??", Verdict::Down),
            (Quorum::Majority, "uus", Verdict::Degraded),
            (Quorum::Any, "uud", Verdict::Down),
            (Quorum::All, "udd", Verdict::Degraded),
            (Quorum::All, "ddd", Verdict::Down),
            (Quorum::All, "dd?", Verdict::Down),
            (Quorum::Count(2), "uudd", Verdict::Down),
            (Quorum::Count(2), "uuud", Verdict::Degraded),
            (Quorum::Count(3), "dd", Verdict::Down),
        ];
        for (quorum, text, expected) in table {
            assert_eq!(verdict(quorum, &votes(text)), expected, "{quorum:?} of {text:?}");
        }
    }
}
