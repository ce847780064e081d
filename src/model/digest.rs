//! A text for a period, for one service or for all: what happened, what changed, what to do; and who wrote it, and why.

use std::sync::Arc;

use crate::model::id::ServiceId;
use crate::model::time::Timestamp;

/// The name of its period and of what it speaks of, so that the same digest written twice is one. Safe in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestId(pub Arc<str>);

impl DigestId {
    pub fn of(period: Period, service: Option<ServiceId>) -> DigestId {
        let scope = service.map_or_else(|| "all".to_owned(), |service| service.to_string());
        let compact = |at: Timestamp| at.datetime().format("%Y%m%dT%H%M%SZ").to_string();
        DigestId(format!("{}-{}-{scope}", compact(period.since), compact(period.until)).into())
    }
}

impl std::fmt::Display for DigestId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// From its first instant to the one behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub since: Timestamp,
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// The program itself.
    Local,
    /// A language model, by an API compatible with OpenAI's.
    OpenAi,
}

impl Writer {
    pub const ALL: [Writer; 2] = [Writer::Local, Writer::OpenAi];

    pub fn name(self) -> &'static str {
        match self {
            Writer::Local => "local",
            Writer::OpenAi => "openai",
        }
    }

    pub fn from_name(name: &str) -> Option<Writer> {
        Writer::ALL.into_iter().find(|writer| writer.name() == name)
    }
}

/// What there is to read: plain text throughout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestText {
    /// One sentence.
    pub headline: String,
    pub paragraphs: Vec<String>,
    /// What to look at next, the most urgent first.
    pub suggestions: Vec<String>,
}

impl DigestText {
    /// Headline and paragraphs, as a summary shows them.
    pub fn summary(&self) -> String {
        std::iter::once(&self.headline).chain(&self.paragraphs).map(String::as_str).collect::<Vec<_>>().join("\n\n")
    }

    /// All of it, as it would be sent.
    pub fn whole(&self) -> String {
        let mut text = self.summary();
        if !self.suggestions.is_empty() {
            text.push_str("\n\nWhat to look at next:");
            self.suggestions.iter().for_each(|suggestion| text.push_str(&format!("\n- {suggestion}")));
        }
        text
    }
}

/// What a model was paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub prompt: u64,
    pub completion: u64,
}

impl Tokens {
    pub fn total(self) -> u64 {
        self.prompt + self.completion
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    pub id: DigestId,
    /// `None`: of everything.
    pub service: Option<ServiceId>,
    /// As the service was called then.
    pub name: Option<Arc<str>>,
    pub period: Period,
    pub written_at: Timestamp,
    pub text: DigestText,
    pub writer: Writer,
    /// Why it was this writer.
    pub writer_reason: String,
    /// The model that was asked, where one was.
    pub model: Option<String>,
    /// Of all tries, those whose text was refused among them.
    pub tokens: Tokens,
    /// Findings of the period that nobody dismissed.
    pub anomaly_count: u64,
    /// The facts it was written from, as JSON.
    pub facts: String,
}
