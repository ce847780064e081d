//! One check as a person at a terminal reads it, and as a script does. Pure: everything is in the arguments.
//!
//! **Invariant**: what a target sent reaches the terminal without control characters, so that no answer can move its cursor.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::check::{Attempt, Certificate, CheckResult, Evidence, Failure, Phase, Phases};
use crate::model::service::{Service, Target};
use crate::model::time::Timestamp;
use crate::probe::classify::span;
use crate::probe::expect::Verdict;
use crate::probe::redact::{REDACTED, sounds_secret};

/// Cells of the longest bar; with the columns before it a line has 78 characters.
const BAR: usize = 52;
const LINE: usize = 78;
/// Lines of headers and of body that are shown of a failing answer.
const HEADERS: usize = 12;
const BODY: usize = 4;

/// The whole check in at most 80 columns, but for the last line, which is never cut.
pub fn render(service: &Service, result: &CheckResult, verdicts: &[Verdict], now: Timestamp, colour: bool) -> String {
    let mut page = Page { text: String::new(), paint: Paint(colour) };
    page.head(service, result);
    page.phases(result);
    if let Some(certificate) = &result.certificate {
        page.certificate(certificate, now);
    }
    page.attempts(result);
    page.evidence(result);
    page.verdicts(verdicts);
    page.last_line(result);
    page.text
}

struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn title(&mut self, title: &str) {
        let title = self.paint.dim(title);
        self.line("");
        self.line(&format!("  {title}"));
    }

    fn head(&mut self, service: &Service, result: &CheckResult) {
        let name = self.paint.bold(&cut(&service.name, LINE));
        self.line(&name);
        let verb = if service.kind.is_http() { service.method.as_str() } else { service.kind.name() };
        let request = cut(&format!("{verb} {}", address(&service.target)), LINE - 2);
        self.line(&format!("  {request}"));
        let mut facts: Vec<String> = Vec::new();
        facts.extend(result.address.map(|address| address.to_string()));
        facts.extend(result.http_version.map(|version| version.name().to_owned()));
        facts.extend(result.tls_version.map(|version| version.name().to_owned()));
        facts.extend(result.status_code.map(status));
        if result.status_code.is_some() {
            facts.push(bytes(result.body_bytes));
        }
        match result.redirects {
            0 => {}
            1 => facts.push("1 redirect".to_owned()),
            count => facts.push(format!("{count} redirects")),
        }
        if !facts.is_empty() {
            self.line(&format!("  {}", cut(&facts.join(" · "), LINE - 2)));
        }
    }

    /// A waterfall: each bar begins where the one before ended.
    fn phases(&mut self, result: &CheckResult) {
        let spans = named(&result.phases);
        let total: Duration = spans.iter().filter_map(|(_, span)| *span).sum();
        if total.is_zero() {
            return;
        }
        self.line("");
        let broken = result.failure.as_ref().map(|failure| failure.phase);
        let mut before = Duration::ZERO;
        for (phase, span) in spans {
            let Some(span) = span else { continue };
            let bar = bar(before, span, total);
            let (bar, mark) = match broken == Some(phase) {
                true => (self.paint.red(&bar), self.paint.red(" ✗")),
                false => (self.paint.phase(phase, &bar), String::new()),
            };
            self.line(&format!("  {:<10} {:>10}  {bar}{mark}", label(phase), millis(span)));
            before += span;
        }
        let total = self.paint.dim(&format!("{:<10} {:>10}", "total", millis(result.latency)));
        self.line(&format!("  {total}"));
    }

    fn certificate(&mut self, certificate: &Certificate, now: Timestamp) {
        let left = certificate.days_left(now);
        let until = certificate.not_after.rfc3339();
        let until = until.split('T').next().unwrap_or_default();
        let life = match left {
            ..0 => self.paint.red(&format!("expired on {until}")),
            0..14 => self.paint.red(&format!("{left} days left, until {until}")),
            _ => format!("{left} days left, until {until}"),
        };
        self.title("certificate");
        self.line(&format!("    {}", cut(&certificate.subject, LINE - 4)));
        self.line(&format!("    issued by {}", cut(&certificate.issuer, LINE - 14)));
        self.line(&format!("    {life}"));
    }

    fn attempts(&mut self, result: &CheckResult) {
        if result.attempts.len() < 2 {
            return;
        }
        self.title("attempts");
        for (index, attempt) in result.attempts.iter().enumerate() {
            let (mark, outcome) = match &attempt.failure {
                None => (self.paint.green("✓"), attempt.status_code.map_or_else(String::new, status)),
                Some(failure) => (self.paint.red("✗"), format!("{}: {}", failure.reason.name(), failure.message)),
            };
            let start = format!("+{}", millis(attempt.offset));
            let line = format!("{:>4} {start:>12} {:>11}  {mark} ", index + 1, millis(attempt.latency));
            self.line(&format!("{line}{}", cut(&outcome, LINE - 33)));
        }
    }

    /// What came, where it was not what should have come.
    fn evidence(&mut self, result: &CheckResult) {
        let (Some(evidence), Some(_)) = (&result.evidence, &result.failure) else { return };
        if evidence.addresses.len() > 1 {
            let all: Vec<String> = evidence.addresses.iter().map(ToString::to_string).collect();
            self.title("addresses");
            self.line(&format!("    {}", cut(&all.join(", "), LINE - 4)));
        }
        if evidence.chain.len() > 1 {
            self.title("chain");
            for certificate in &evidence.chain {
                self.line(&format!("    {}", cut(&certificate.subject, LINE - 4)));
            }
        }
        if evidence.status_line.is_empty() {
            return;
        }
        self.title("answer");
        self.line(&format!("    {}", cut(&evidence.status_line, LINE - 4)));
        for (name, value) in evidence.headers.iter().take(HEADERS) {
            self.line(&format!("    {}", cut(&format!("{name}: {value}"), LINE - 4)));
        }
        if evidence.headers.len() > HEADERS {
            let more = self.paint.dim(&format!("and {} more headers", evidence.headers.len() - HEADERS));
            self.line(&format!("    {more}"));
        }
        let mut lines = evidence.body.lines().filter(|line| !line.trim().is_empty());
        for line in lines.by_ref().take(BODY) {
            let line = self.paint.dim(&cut(line, LINE - 6));
            self.line(&format!("    │ {line}"));
        }
        if lines.next().is_some() {
            self.line("    │ …");
        }
    }

    fn verdicts(&mut self, verdicts: &[Verdict]) {
        if verdicts.is_empty() {
            return;
        }
        self.title("expectations");
        for verdict in verdicts {
            match &verdict.failure {
                None => {
                    let mark = self.paint.green("✓");
                    self.line(&format!("    {mark} {}", cut(&verdict.what, LINE - 6)));
                }
                Some(failure) => {
                    let mark = self.paint.red("✗");
                    self.line(&format!("    {mark} {}", cut(&verdict.what, LINE - 6)));
                    self.line(&format!("      {}", cut(&failure.message, LINE - 6)));
                }
            }
        }
    }

    fn last_line(&mut self, result: &CheckResult) {
        self.line("");
        let tries = match result.attempt_count {
            1 => String::new(),
            count => format!(", {count} attempts in {}", span(rounded(result.elapsed))),
        };
        let line = match &result.failure {
            None => format!("{} in {}{tries}", self.paint.green("✓ up"), millis(result.latency)),
            Some(failure) => {
                let reason = format!("{} ({})", self.paint.red("✗ not up"), failure.reason.name());
                format!("{reason}: {}{tries}", clean(&failure.message))
            }
        };
        self.line(&line);
    }
}

/// Everything known of the check, for `--json`.
pub fn to_json(service: &Service, result: &CheckResult, verdicts: &[Verdict], now: Timestamp) -> Value {
    let expectations: Vec<Value> = verdicts
        .iter()
        .map(|verdict| {
            let failure = verdict.failure.as_ref();
            json!({
                "what": verdict.what,
                "ok": failure.is_none(),
                "reason": failure.map(|failure| failure.reason.name()),
                "message": failure.map(|failure| &failure.message),
            })
        })
        .collect();
    let failure = result.failure.as_ref();
    json!({
        "check": result.id.to_string(),
        "service_id": result.service.0,
        "service": &*service.name,
        "method": service.method.as_str(),
        "url": address(&service.target),
        "region": &*result.region.0,
        "checked_at": result.started_at.rfc3339(),
        "ok": result.ok(),
        "reason": failure.map(|failure| failure.reason.name()),
        "phase": failure.map(|failure| failure.phase.name()),
        "message": failure.map(|failure| &failure.message),
        "status_code": result.status_code,
        "latency_ms": number(result.latency),
        "elapsed_ms": number(result.elapsed),
        "phases": phases_json(&result.phases),
        "address": result.address,
        "http_version": result.http_version.map(|version| version.name()),
        "tls_version": result.tls_version.map(|version| version.name()),
        "certificate": result.certificate.as_deref().map(|certificate| certificate_json(certificate, now)),
        "body_bytes": result.body_bytes,
        "redirects": result.redirects,
        "attempt_count": result.attempt_count,
        "attempts": result.attempts.iter().map(attempt_json).collect::<Vec<_>>(),
        "expectations": expectations,
        "evidence": result.evidence.as_deref().map(|evidence| evidence_json(evidence, now)),
    })
}

fn attempt_json(attempt: &Attempt) -> Value {
    let failure: Option<&Failure> = attempt.failure.as_ref();
    json!({
        "offset_ms": number(attempt.offset),
        "latency_ms": number(attempt.latency),
        "ok": failure.is_none(),
        "reason": failure.map(|failure| failure.reason.name()),
        "phase": failure.map(|failure| failure.phase.name()),
        "message": failure.map(|failure| &failure.message),
        "status_code": attempt.status_code,
        "address": attempt.address,
        "phases": phases_json(&attempt.phases),
    })
}

fn evidence_json(evidence: &Evidence, now: Timestamp) -> Value {
    json!({
        "status_line": evidence.status_line,
        "headers": evidence.headers,
        "body": evidence.body,
        "chain": evidence.chain.iter().map(|certificate| certificate_json(certificate, now)).collect::<Vec<_>>(),
        "addresses": evidence.addresses,
    })
}

fn certificate_json(certificate: &Certificate, now: Timestamp) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": certificate.not_before.rfc3339(),
        "not_after": certificate.not_after.rfc3339(),
        "days_left": certificate.days_left(now),
        "fingerprint": certificate.fingerprint,
    })
}

fn phases_json(phases: &Phases) -> Value {
    named(phases).into_iter().map(|(phase, span)| (format!("{}_ms", phase.name()), json!(span.map(number)))).collect()
}

fn named(phases: &Phases) -> [(Phase, Option<Duration>); 5] {
    [
        (Phase::Dns, phases.dns),
        (Phase::Connect, phases.connect),
        (Phase::Tls, phases.tls),
        (Phase::FirstByte, phases.first_byte),
        (Phase::Transfer, phases.transfer),
    ]
}

fn label(phase: Phase) -> &'static str {
    match phase {
        Phase::FirstByte => "first byte",
        phase => phase.name(),
    }
}

/// The address that is asked, without the values of its query that sound secret.
fn address(target: &Target) -> String {
    let url = match target {
        Target::Hub { path } => return format!("self{path}"),
        Target::Url(url) => url,
    };
    if !url.query_pairs().any(|(name, _)| sounds_secret(&name)) {
        return url.to_string();
    }
    let pairs: Vec<String> = url
        .query_pairs()
        .map(|(name, value)| if sounds_secret(&name) { format!("{name}={REDACTED}") } else { format!("{name}={value}") })
        .collect();
    let mut bare = url.clone();
    bare.set_query(None);
    format!("{bare}?{}", pairs.join("&"))
}

/// The bar of one phase, in eighths of a cell, after as much room as the phases before it take.
fn bar(before: Duration, span: Duration, total: Duration) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = |span: Duration| (span.as_secs_f64() / total.as_secs_f64() * (BAR * 8) as f64).round() as usize;
    let room = (eighths(before) / 8).min(BAR - 1);
    let length = eighths(span).max(1).min((BAR - room) * 8);
    format!("{}{}{}", " ".repeat(room), "█".repeat(length / 8), EIGHTHS[length % 8])
}

fn status(code: u16) -> String {
    let reason = http::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason()).unwrap_or("");
    format!("{code} {reason}").trim_end().to_owned()
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// One decimal place; whole numbers beyond ten seconds, where nobody reads it.
fn millis(span: Duration) -> String {
    let millis = span.as_secs_f64() * 1e3;
    if millis < 10_000.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

fn rounded(span: Duration) -> Duration {
    Duration::from_millis(span.as_millis() as u64)
}

fn number(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// At most so many characters on one line, none of which a terminal obeys.
fn cut(text: &str, width: usize) -> String {
    let text = clean(text);
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
        None => text,
    }
}

/// Without what could move the cursor.
pub fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Whether colours are wanted, and how they are written.
#[derive(Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    fn code(self, code: u8, text: &str) -> String {
        if !self.0 || text.is_empty() {
            return text.to_owned();
        }
        let mut painted = String::with_capacity(text.len() + 9);
        let _ = write!(painted, "\x1b[{code}m{text}\x1b[0m");
        painted
    }

    pub fn bold(self, text: &str) -> String {
        self.code(1, text)
    }

    pub fn dim(self, text: &str) -> String {
        self.code(2, text)
    }

    pub fn red(self, text: &str) -> String {
        self.code(31, text)
    }

    pub fn green(self, text: &str) -> String {
        self.code(32, text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.code(33, text)
    }

    fn phase(self, phase: Phase, text: &str) -> String {
        let code = match phase {
            Phase::Dns => 36,
            Phase::Connect => 34,
            Phase::Tls => 35,
            Phase::FirstByte => 33,
            Phase::Transfer | Phase::Expect => 32,
        };
        self.code(code, text)
    }
}

#[cfg(test)]
mod tests;
