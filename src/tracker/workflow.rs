//! Which steps an issue may take. Pure rules.
//!
//! Forward one step at a time: reported → triaged → assigned → in_progress → testing → resolved → verified → closed. Work that is not
//! done may go one step back, or not be done at all. What is resolved, verified, closed or given up is opened again either from
//! the beginning or where the work was.

use crate::model::issue::IssueStatus;

/// Why a step is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// From where it is no step leads there.
    NoStep,
    /// Somebody must be named who does it.
    NoAssignee,
}

/// Where an issue may go from a status, in the order of its life.
pub fn steps(from: IssueStatus) -> &'static [IssueStatus] {
    use IssueStatus::{Assigned, Closed, InProgress, Reported, Resolved, Testing, Triaged, Verified, WontDo};
    match from {
        Reported => &[Triaged, WontDo],
        Triaged => &[Reported, Assigned, WontDo],
        Assigned => &[Triaged, InProgress, WontDo],
        InProgress => &[Assigned, Testing, WontDo],
        Testing => &[InProgress, Resolved, WontDo],
        Resolved => &[Reported, InProgress, Verified],
        Verified => &[Reported, InProgress, Closed],
        Closed | WontDo => &[Reported, InProgress],
    }
}

/// Whether an issue must have an assignee while it has this status.
pub fn needs_assignee(status: IssueStatus) -> bool {
    matches!(status, IssueStatus::Assigned | IssueStatus::InProgress | IssueStatus::Testing)
}

/// Whether a step may be taken by an issue that has, or has not, an assignee.
pub fn check(from: IssueStatus, to: IssueStatus, has_assignee: bool) -> Result<(), Refusal> {
    if !steps(from).contains(&to) {
        return Err(Refusal::NoStep);
    }
    if needs_assignee(to) && !has_assignee {
        return Err(Refusal::NoAssignee);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: from; columns: to, both in the order of [`IssueStatus::ALL`]. `x`: allowed; `a`: allowed with an assignee.
    const TABLE: [(&str, &str); 9] = [
        ("reported", ".x......x"),
        ("triaged", "x.a.....x"),
        ("assigned", ".x.a....x"),
        ("in_progress", "..a.a...x"),
        ("testing", "...a.x..x"),
        ("resolved", "x..a..x.."),
        ("verified", "x..a...x."),
        ("closed", "x..a....."),
        ("wont_do", "x..a....."),
    ];

    #[test]
    fn every_pair_of_steps_is_allowed_or_refused_as_the_table_says() {
        assert_eq!(TABLE.map(|(name, _)| name), IssueStatus::ALL.map(IssueStatus::name));
        for (from, (_, row)) in IssueStatus::ALL.into_iter().zip(TABLE) {
            assert_eq!(row.len(), IssueStatus::ALL.len());
            for (to, mark) in IssueStatus::ALL.into_iter().zip(row.chars()) {
                let (with, without) = match mark {
                    'x' => (Ok(()), Ok(())),
                    'a' => (Ok(()), Err(Refusal::NoAssignee)),
                    _ => (Err(Refusal::NoStep), Err(Refusal::NoStep)),
                };
                assert_eq!(check(from, to, true), with, "{} to {} with an assignee", from.name(), to.name());
                assert_eq!(check(from, to, false), without, "{} to {} without one", from.name(), to.name());
            }
        }
    }

    #[test]
    fn from_everywhere_everything_can_still_be_reached() {
        for start in IssueStatus::ALL {
            let mut reached = vec![start];
            let mut next = 0;
            while next < reached.len() {
                let more: Vec<IssueStatus> = steps(reached[next]).iter().copied().filter(|to| !reached.contains(to)).collect();
                reached.extend(more);
                next += 1;
            }
            assert_eq!(reached.len(), IssueStatus::ALL.len(), "{}", start.name());
        }
    }
}
