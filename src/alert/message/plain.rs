//! A message as plain text: for terminals, the plain half of a mail, notifications and whoever reads it aloud.

use std::fmt::Write as _;

use crate::alert::message::text::cut;
use crate::alert::message::{Part, Parts};

/// First line, blank line, the parts, blank line, footer.
pub fn whole(parts: &Parts) -> String {
    format!("{}\n\n{}\n\n{}\n", parts.first_line, below(parts), parts.footer)
}

/// What stands below the first line, without the footer.
pub fn below(parts: &Parts) -> String {
    let mut out = String::new();
    for part in &parts.parts {
        match part {
            Part::Fact { label, text } => {
                let _ = writeln!(out, "{label}: {text}");
            }
            Part::Regions { lines, more } => {
                let _ = writeln!(out, "Seen from:");
                let widest = lines.iter().map(|line| line.region.chars().count()).max().unwrap_or(0);
                for line in lines {
                    let _ = writeln!(out, "  {:widest$}  {:7}  {}", line.region, line.status, line.text);
                }
                if *more > 0 {
                    let _ = writeln!(out, "  and {more} more regions");
                }
            }
            Part::Link { url } => {
                let _ = writeln!(out, "Look at: {url}");
            }
        }
    }
    out.trim_end().to_owned()
}

/// Short enough for the list of a mail client.
pub fn subject(parts: &Parts) -> String {
    cut(&parts.first_line, 160)
}
