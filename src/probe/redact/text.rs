//! A text without the values in it whose names sound secret, and without the passwords of its addresses.
//!
//! It is read once from its start. At each `:`, `=` or end of a tag the name is looked for before it and the value behind it, whatever
//! the text is (JSON, a form, a log, a page, or one of them within another): a body is cut at a KiB, so no parser would take it.
//!
//! English stays: behind `name: `, with a space, what is a sentence is shown. One is what begins with a word of [`PROSE`] (`expired`,
//! `must`) or with three words of letters alone, the first in lower case but for its first letter, none of them a name itself.
//! Everything else is hidden to the next gap, `&`, `;`, `,`, quote, `<` or end of the line. Without the space, or behind `=`, all is
//! hidden: people write no sentences so.
//!
//! **Invariant**: the time is linear in the text; what looks back, or ahead without going on from there, is bounded.

use crate::probe::redact::REDACTED;
use crate::probe::redact::name::{Secrecy, secrecy};

/// Of a field; what is longer is a text.
const LONGEST_NAME: usize = 64;
/// Of an address, up to its path.
const LONGEST_AUTHORITY: usize = 512;
/// Of a word in a sentence.
const LONGEST_WORD: usize = 16;
/// A name before `@` that is as long is a token, as some hosts of code take it.
const SHORTEST_TOKEN: usize = 20;

/// What a sentence about a secret begins with; or what is all of it.
#[rustfmt::skip]
const PROSE: [&str; 93] = [
    "a", "absent", "active", "already", "an", "and", "are", "auth", "authentication", "authorization", "available", "bad", "cannot", "can't",
    "challenge", "closed", "contains", "could", "credentials", "degraded", "denied", "disabled", "does", "doesn't", "down", "empty", "enabled",
    "error", "errors", "exceeded", "exists", "expected", "expired", "fail", "failed", "failing", "failure", "false", "field", "forbidden", "found",
    "has", "healthy", "in", "inactive", "incorrect", "invalid", "is", "it", "locked", "malformed", "may", "mismatch", "missing", "must", "needs",
    "nil", "no", "none", "not", "null", "ok", "only", "out", "pass", "passed", "please", "realm", "rejected", "required", "revoked", "scheme",
    "should", "that", "the", "they", "this", "timeout", "token", "tokens", "too", "true", "unauthorized", "undefined", "unavailable",
    "unexpected", "unhealthy", "unknown", "unset", "up", "valid", "was", "you",
];
const SCHEMES: [&str; 7] = ["apikey", "basic", "bearer", "digest", "negotiate", "ntlm", "token"];
/// Before an end of a string in a string, or in a page.
const QUOTES: [&str; 7] = ["\"", "'", "&quot;", "&#34;", "&#39;", "&#x27;", "&apos;"];

pub fn hide_named(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut kept, mut at) = (0, 0);
    while let Some(&byte) = text.as_bytes().get(at) {
        let found = match byte {
            b':' => password_of_address(text, at).or_else(|| named_value(text, kept, at)),
            b'=' | b'>' => named_value(text, kept, at),
            b'b' | b'B' => credentials(text, at),
            _ => None,
        };
        match found {
            Some(Hidden { begin, end, quote }) => {
                for part in [&text[kept..begin], quote, REDACTED, quote] {
                    shown.push_str(part);
                }
                (kept, at) = (end, end);
            }
            None => at += 1,
        }
    }
    shown.push_str(&text[kept..]);
    shown
}

/// The bytes of a text that are not shown, their quotes among them.
struct Hidden<'a> {
    begin: usize,
    end: usize,
    /// What stands on both sides of the mark.
    quote: &'a str,
}

impl Hidden<'_> {
    fn bare(begin: usize, length: usize) -> Option<Self> {
        (length > 0).then_some(Hidden { begin, end: begin + length, quote: "" })
    }
}

/// The password in `scheme://user:password@host`, at the colon of the scheme. One that the end of the text cuts off has no `@`.
fn password_of_address(text: &str, at: usize) -> Option<Hidden<'_>> {
    let length = [r"://", r":\/\/"].into_iter().find(|mark| text[at..].starts_with(mark))?.len();
    if !text[..at].ends_with(|last: char| last.is_ascii_alphanumeric()) {
        return None;
    }
    let begin = at + length;
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`');
    let run = text.as_bytes()[begin..].iter().take(LONGEST_AUTHORITY).take_while(|byte| !ends(byte)).count();
    let run = &text.as_bytes()[begin..begin + run];
    let authority = &run[..run.iter().position(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#')).unwrap_or(run.len())];
    if authority.first() == Some(&b'[') {
        return None;
    }
    let user_end = authority.iter().rposition(|byte| *byte == b'@');
    let Some(colon) = authority.iter().position(|byte| *byte == b':').filter(|colon| user_end.is_none_or(|end| *colon < end)) else {
        return Hidden::bare(begin, user_end.filter(|end| *end >= SHORTEST_TOKEN)?);
    };
    // Without `@` it is a port, unless it is no number: then the password holds a slash, or the rest is cut off.
    let end = match user_end {
        Some(end) => end,
        None => {
            let rest = &authority[colon + 1..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits > 0 && rest.get(digits).is_none_or(|byte| !byte.is_ascii_alphanumeric()) {
                return None;
            }
            let cut_off = begin + run.len() == text.len();
            run.iter().rposition(|byte| *byte == b'@').or(cut_off.then_some(run.len()))?
        }
    };
    Hidden::bare(begin + colon + 1, end.checked_sub(colon + 1)?)
}

/// `Bearer x` and `Basic x` anywhere; what follows may be English, too.
fn credentials(text: &str, at: usize) -> Option<Hidden<'_>> {
    let scheme = ["bearer ", "basic "]
        .into_iter()
        .find(|scheme| text.as_bytes().get(at..at + scheme.len()).is_some_and(|here| here.eq_ignore_ascii_case(scheme.as_bytes())))?;
    if at > 0 && text.as_bytes()[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let begin = at + scheme.len();
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let length = text.as_bytes()[begin..].iter().take_while(|byte| token(byte)).count();
    let value = &text[begin..begin + length];
    // `Bearer realm="x"` is a challenge.
    let challenge = value.trim_end_matches(['=', '.']).contains('=') || (value.ends_with('=') && quote_at(text, begin + length).is_some());
    // A token of letters alone is rare, but `Basic plan` is not.
    let english = if scheme == "basic " { is_prose(&text[begin..]) } else { begins_prose(&text[begin..]) };
    if length == 0 || challenge || english {
        return None;
    }
    Hidden::bare(at, begin + length - at)
}

/// The value behind the separator at `at`, if the name before it sounds secret. What is before `floor` is dealt with.
fn named_value(text: &str, floor: usize, at: usize) -> Option<Hidden<'_>> {
    let rest = &text[at..];
    let separator = match rest.as_bytes() {
        [b':', b':', ..] => return None,
        [b':' | b'=', b'=' | b'>', ..] => 2,
        _ => 1,
    };
    let name = name_before(text, floor, at)?;
    let secrecy = secrecy(name.text);
    if secrecy == Secrecy::Open || (rest.starts_with('>') && !name.tag) {
        return None;
    }
    let behind = &rest[separator..];
    let value = match name.quote {
        "" => behind.trim_start_matches([' ', '\t']),
        _ => behind.trim_start(),
    };
    let spaced = rest.starts_with(':') && value.len() < behind.len();
    // `b'x'` and `u'x'`, as Python prints them.
    let prefix = usize::from(value.starts_with(['b', 'u', 'r']) && value[1..].starts_with(['"', '\'']));
    let begin = text.len() - value.len() + prefix;
    let value = &value[prefix..];
    if let Some(quote) = quote_at(text, begin) {
        let length = string_length(value, quote);
        let inner = value[quote.len()..length].trim_end_matches(quote);
        // `"wrong password:", …`: the quote ends the string the name is in.
        if name.quote.is_empty() && inner.trim_start().starts_with([',', '}', ']']) {
            return None;
        }
        let state = secrecy == Secrecy::Doubtful && is_harmless(inner);
        return (!state && !inner.is_empty()).then_some(Hidden { begin, end: begin + length, quote });
    }
    if !name.quote.is_empty() && value.starts_with(['{', '[']) {
        let shown = secrecy == Secrecy::Doubtful && value.starts_with('{');
        return (!shown).then(|| Hidden { begin, end: begin + nested_length(value), quote: name.quote });
    }
    let length = bare_length(value, &name);
    let word = &value[..length];
    // That there is none is no secret.
    let nothing = matches!(word, "null" | "true" | "false" | "nil" | "None" | "undefined" | REDACTED);
    let port = rest.starts_with(':') && name.is_host() && is_number(word.trim_end_matches(':'));
    if nothing || port || (secrecy == Secrecy::Doubtful && is_harmless(word)) {
        return None;
    }
    let first = value.split([' ', '\t']).next().unwrap_or_default().to_ascii_lowercase();
    let scheme = SCHEMES.contains(&first.as_str()) && value.len() > first.len() && !begins_prose(&value[first.len() + 1..]);
    if name.quote.is_empty() && spaced && !scheme && is_prose(value) {
        return None;
    }
    // A cookie or credentials are of many words, and so is the address of a database.
    let last = name.text.rsplit(['-', '_', '.', ' ']).next().unwrap_or_default().to_ascii_lowercase();
    let long = spaced && matches!(last.as_str(), "authorization" | "cookie" | "dsn" | "string" | "connectionstring");
    let length = match (long && name.quote.is_empty(), scheme) {
        (true, _) => line_length(value),
        (false, true) => first.len() + 1 + bare_length(&value[first.len() + 1..], &name),
        _ => length,
    };
    // `Some("x")`: what is in the quotes is the value.
    if value[..length].ends_with('(')
        && let Some(quote) = quote_at(text, begin + length)
    {
        return Hidden::bare(begin, length + string_length(&value[length..], quote));
    }
    (length > 0).then_some(Hidden { begin, end: begin + length, quote: name.quote })
}

struct Name<'a> {
    text: &'a str,
    quote: &'a str,
    tag: bool,
}

impl Name<'_> {
    /// `token.example.com`, before a port.
    fn is_host(&self) -> bool {
        self.text.rsplit_once('.').is_some_and(|(_, last)| secrecy(last) == Secrecy::Open)
    }
}

/// A name that ends before `end`: in quotes, of a tag, or one word with at most one more before it (`session id`).
fn name_before(text: &str, floor: usize, end: usize) -> Option<Name<'_>> {
    let bytes = text.as_bytes();
    let back = |end: usize, goes_on: &dyn Fn(u8) -> bool| {
        let lowest = floor.max(end.saturating_sub(LONGEST_NAME));
        end - bytes[lowest..end].iter().rev().take_while(|byte| goes_on(**byte)).count()
    };
    let close = back(end, &|byte| byte.is_ascii_whitespace());
    if let Some(quote) = quote_before(text, floor, close) {
        let name_end = close - quote.len();
        let lowest = floor.max(name_end.saturating_sub(LONGEST_NAME + quote.len()));
        let found = bytes[lowest..name_end].windows(quote.len()).rposition(|here| here == quote.as_bytes())?;
        return Some(Name { text: &text[lowest + found + quote.len()..name_end], quote, tag: false });
    }
    let close = back(end, &|byte| matches!(byte, b' ' | b'\t'));
    let begin = back(close, &|byte| byte.is_ascii_alphanumeric() || b"_-.[]%".contains(&byte));
    if begin == close {
        return None;
    }
    let tag = begin > floor && bytes[begin - 1] == b'<' && close == end;
    let mut start = begin;
    if begin > floor && bytes[begin - 1] == b' ' {
        start = back(begin - 1, &|byte| byte.is_ascii_alphabetic());
    }
    Some(Name { text: &text[start..close], quote: "", tag })
}

/// The quote at a place, with the signs that escape it.
fn quote_at(text: &str, at: usize) -> Option<&str> {
    let rest = &text[at..];
    let escapes = rest.bytes().take(LONGEST_WORD).take_while(|byte| *byte == b'\\').count();
    let quote = QUOTES.into_iter().find(|quote| rest[escapes..].starts_with(quote))?;
    Some(&rest[..escapes + quote.len()])
}

fn quote_before(text: &str, floor: usize, end: usize) -> Option<&str> {
    let before = &text[floor..end];
    let quote = QUOTES.into_iter().find(|quote| before.ends_with(quote))?;
    let bare = &before[..before.len() - quote.len()];
    let escapes = bare.bytes().rev().take(LONGEST_WORD).take_while(|byte| *byte == b'\\').count();
    Some(&before[bare.len() - escapes..])
}

/// Whether the first word is one of [`PROSE`].
fn begins_prose(text: &str) -> bool {
    let length = text.bytes().take(LONGEST_WORD).take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'\'').count();
    PROSE.contains(&text[..length].to_ascii_lowercase().as_str()) && is_prose(text)
}

/// Whether English begins here, as far as its first words tell.
fn is_prose(text: &str) -> bool {
    let mut words = 0;
    let mut rest = text;
    loop {
        let length = rest.bytes().take(LONGEST_WORD).take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'\'').count();
        let (word, behind) = (rest[..length].trim_end_matches('\''), &rest[length..]);
        let ends = behind.is_empty()
            || behind.starts_with([' ', '\t', '\n', '\r', '.', ',', ';', '!', '?', '"', '\'', '<', '\\', ')', '}', ']', '&']);
        // `a.b` is no end of a sentence.
        let within = behind.starts_with(['.', '!', '?', '&', '\'']) && behind[1..].starts_with(|next: char| next.is_ascii_alphanumeric());
        let colon = behind.starts_with(": ") && words == 0;
        if word.is_empty() || !(ends || colon) || within {
            return false;
        }
        if PROSE.contains(&word.to_ascii_lowercase().as_str()) {
            return true;
        }
        words += 1;
        if word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase()) || colon {
            return false;
        }
        if words == 3 {
            return true;
        }
        match behind.strip_prefix(' ') {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'%'))
}

/// A number, or a state in one word.
fn is_harmless(word: &str) -> bool {
    is_number(word) || PROSE.contains(&word.to_ascii_lowercase().as_str())
}

/// A value without quotes. Those of JSON end at a bracket; elsewhere one more at its end than it opens is of the text around it.
fn bare_length(value: &str, name: &Name<'_>) -> usize {
    if !name.quote.is_empty() {
        let length = value.find([',', '}', ']', '\n']).unwrap_or(value.len());
        return value[..length].trim_end().len();
    }
    let mut length = value.len();
    for (place, sign) in value.char_indices() {
        let escaped_quote = sign == '\\' && value[place + 1..].starts_with(['"', '\'', '\\']) && quote_at(value, place).is_some();
        if sign.is_whitespace() || escaped_quote || matches!(sign, '&' | ';' | ',' | '"' | '\'' | '`' | '<') {
            length = place;
            break;
        }
    }
    for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
        let word = &value[..length];
        if word.ends_with(close) && !word.contains(open) {
            length -= 1;
        }
    }
    length
}

/// To the end of the line, of the string it is in, or of the tag.
fn line_length(value: &str) -> usize {
    let ends = ["\\n", "\\r", "\\\"", "&quot;", "&#34;"];
    let cut = |(place, sign): &(usize, char)| {
        matches!(sign, '\n' | '\r' | '"' | '<') || (matches!(sign, '\\' | '&') && ends.iter().any(|end| value[*place..].starts_with(end)))
    };
    value.char_indices().find(cut).map_or(value.len(), |(place, _)| place)
}

/// A string with both its quotes, or as much as there is of it.
fn string_length(text: &str, quote: &str) -> usize {
    if quote.len() > 1 {
        let inner = &text[quote.len()..];
        return inner.find(quote).map_or(text.len(), |found| quote.len() + found + quote.len());
    }
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if quote.as_bytes() == [byte] => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// An object or a list to its end, or as much as there is of it.
fn nested_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => {
                at += string_length(&text[at..], "\"");
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
