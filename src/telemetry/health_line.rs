//! One check as one line of JSON, with a space after each colon and comma, so that `grep '"ok": false'` finds the failures.
//!
//! Written by hand into the caller's buffer, as it is done for every check there is: serde_json's own spacing would need a
//! formatter and a value tree, and cost several times as much. Times are those frozen in the result; no clock is read.

use std::io::Write;
use std::time::Duration;

use crate::model::check::{Attempt, CheckResult};

/// Attempts listed of one check at most.
const MOST_ATTEMPTS: usize = 16;

pub struct HealthLine<'a> {
    pub result: &'a CheckResult,
    pub service_name: &'a str,
}

impl HealthLine<'_> {
    /// Adds the line with its newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        let result = self.result;
        field(out, "{\"time\": \"", &result.started_at.rfc3339());
        out.extend_from_slice(b"\", \"service\": ");
        text(out, self.service_name);
        number(out, ", \"service_id\": ", u64::from(result.service.0));
        out.extend_from_slice(b", \"region\": ");
        text(out, &result.region.0);
        out.extend_from_slice(if result.ok() { b", \"ok\": true" } else { b", \"ok\": false" });
        status(out, result.status_code);
        match &result.failure {
            None => out.extend_from_slice(b", \"reason\": null, \"phase\": null, \"message\": null"),
            Some(failure) => {
                field(out, ", \"reason\": \"", failure.reason.name());
                field(out, "\", \"phase\": \"", failure.phase.name());
                out.extend_from_slice(b"\", \"message\": ");
                text(out, &failure.message);
            }
        }
        millis(out, ", \"latency_ms\": ", result.latency);
        number(out, ", \"attempts\": ", u64::from(result.attempt_count));
        phases(out, result);
        match result.address {
            None => out.extend_from_slice(b", \"address\": null"),
            // Writing into memory does not fail.
            Some(address) => drop(write!(out, ", \"address\": \"{address}\"")),
        }
        out.extend_from_slice(b", \"node\": ");
        text(out, &result.id.node.0);
        number(out, ", \"boot\": ", result.id.boot.0);
        number(out, ", \"seq\": ", result.id.seq);
        if !result.ok() && !result.attempts.is_empty() {
            each_attempt(out, &result.attempts);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn phases(out: &mut Vec<u8>, result: &CheckResult) {
    let phases = &result.phases;
    let known = [
        ("\"dns\": ", phases.dns),
        ("\"connect\": ", phases.connect),
        ("\"tls\": ", phases.tls),
        ("\"first_byte\": ", phases.first_byte),
        ("\"transfer\": ", phases.transfer),
    ];
    out.extend_from_slice(b", \"phases_ms\": {");
    let mut first = true;
    for (name, span) in known {
        if let Some(span) = span {
            if !first {
                out.extend_from_slice(b", ");
            }
            first = false;
            millis(out, name, span);
        }
    }
    out.push(b'}');
}

/// Of each attempt what tells it from the others; the whole is in the store.
fn each_attempt(out: &mut Vec<u8>, attempts: &[Attempt]) {
    out.extend_from_slice(b", \"each_attempt\": [");
    for (index, attempt) in attempts.iter().take(MOST_ATTEMPTS).enumerate() {
        millis(out, if index == 0 { "{\"offset_ms\": " } else { ", {\"offset_ms\": " }, attempt.offset);
        millis(out, ", \"latency_ms\": ", attempt.latency);
        status(out, attempt.status_code);
        match &attempt.failure {
            None => out.extend_from_slice(b", \"reason\": null}"),
            Some(failure) => {
                field(out, ", \"reason\": \"", failure.reason.name());
                out.extend_from_slice(b"\"}");
            }
        }
    }
    out.push(b']');
}

fn status(out: &mut Vec<u8>, code: Option<u16>) {
    match code {
        Some(code) => number(out, ", \"status_code\": ", u64::from(code)),
        None => out.extend_from_slice(b", \"status_code\": null"),
    }
}

fn field(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// Milliseconds with three decimals, which are its microseconds.
fn millis(out: &mut Vec<u8>, before: &str, span: Duration) {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    number(out, before, micros / 1000);
    let rest = micros % 1000;
    out.push(b'.');
    out.extend([rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8));
}

fn number(out: &mut Vec<u8>, before: &str, mut value: u64) {
    out.extend_from_slice(before.as_bytes());
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A string as RFC 8259 §7 has it: quote, backslash and controls escaped, all else as it is.
fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let bytes = value.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        if escaped.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.extend_from_slice(escaped);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}
