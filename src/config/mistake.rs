//! A mistake in what a person wrote: where it is and what is wrong with it.

use std::fmt;
use std::path::PathBuf;

/// One mistake. Checks name the path; whoever knows the text adds the file and the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistake {
    pub file: Option<PathBuf>,
    /// Line and column, from 1.
    pub position: Option<(usize, usize)>,
    /// The field, such as `expect.json[0].path`; empty for the whole.
    pub path: String,
    pub message: String,
}

impl Mistake {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Mistake {
        Mistake { path: path.into(), message: message.into(), ..Mistake::default() }
    }

    /// The same mistake one level further out: `prefix.path`.
    pub fn inside(mut self, prefix: &str) -> Mistake {
        self.path = match self.path.as_str() {
            "" => prefix.to_owned(),
            path if path.starts_with('[') => format!("{prefix}{path}"),
            path => format!("{prefix}.{path}"),
        };
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{}", file.display())?;
            if let Some((line, column)) = self.position {
                write!(out, ":{line}:{column}")?;
            }
            out.write_str(": ")?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)
    }
}
