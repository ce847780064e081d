//! Word for one person about one issue: they were assigned to it, or mentioned in it.
//!
//! A note is asked for once the store has what it is about. Who sends it, and by which channel, is not known here.

use crate::model::issue::IssueId;

/// What one person is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The same for the same word, however often it is asked for.
    pub key: String,
    /// Who is told.
    pub user: String,
    pub issue: IssueId,
    /// One line, plain text.
    pub text: String,
}
