//! A curl command, as a browser's tools or a manual give it → what a service needs of it. Pure.
//!
//! What only says how curl prints is left out silently; what would change the request and is not understood is told.

use std::fmt;

/// What a command asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub url: String,
    pub method: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub user: Option<(String, String)>,
    pub bearer: Option<String>,
    pub insecure: bool,
    pub follow: bool,
    pub timeout_s: Option<String>,
    pub proxy: Option<String>,
    /// `1.1` or `2`
    pub http_version: Option<&'static str>,
    /// `4` or `6`
    pub ip_family: Option<&'static str>,
    /// Options that were not understood.
    pub unknown: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurlError {
    NotCurl,
    Unclosed(char),
    NoValue(String),
    NoUrl,
    ManyUrls,
    FromFile(String),
}

impl fmt::Display for CurlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CurlError::NotCurl => out.write_str("must begin with curl"),
            CurlError::Unclosed(quote) => write!(out, "has a quote {quote} that is not closed"),
            CurlError::NoValue(option) => write!(out, "ends where {option} wants a value"),
            CurlError::NoUrl => out.write_str("names no address"),
            CurlError::ManyUrls => out.write_str("names more than one address; one service is one address"),
            CurlError::FromFile(name) => write!(out, "reads the file {name}; paste its content instead"),
        }
    }
}

/// Options without a value that change nothing about the request.
const SILENT: [&str; 22] = [
    "-s",
    "--silent",
    "-S",
    "--show-error",
    "-v",
    "--verbose",
    "-i",
    "--include",
    "-f",
    "--fail",
    "-#",
    "--progress-bar",
    "-N",
    "--no-buffer",
    "--compressed",
    "--fail-with-body",
    "-g",
    "--globoff",
    "--no-progress-meter",
    "-sS",
    "-O",
    "--remote-name",
];
/// Options with a value that change nothing about the request.
const SILENT_VALUED: [&str; 10] =
    ["-o", "--output", "-w", "--write-out", "--connect-timeout", "--retry", "--retry-delay", "--trace-ascii", "-D", "--dump-header"];
/// Options with a value that would change the request, and that a service has nothing for, or not by a file.
const UNKNOWN_VALUED: [&str; 22] = [
    "-E",
    "--cert",
    "--key",
    "--cacert",
    "--capath",
    "--resolve",
    "--connect-to",
    "-F",
    "--form",
    "-T",
    "--upload-file",
    "-r",
    "--range",
    "--interface",
    "-c",
    "--cookie-jar",
    "-K",
    "--config",
    "--ciphers",
    "--aws-sigv4",
    "--cert-type",
    "--tls-max",
];

pub fn parse(command: &str) -> Result<Request, CurlError> {
    let words = words(command)?;
    let mut words = words.into_iter().peekable();
    // A prompt may have been copied along.
    while words.peek().is_some_and(|word| word == "$" || word == "%") {
        words.next();
    }
    if words.next().is_none_or(|word| word.rsplit('/').next() != Some("curl") && !word.eq_ignore_ascii_case("curl.exe")) {
        return Err(CurlError::NotCurl);
    }
    let mut request = Request::default();
    let mut urls: Vec<String> = Vec::new();
    let (mut data, mut as_query, mut json, mut head, mut plain) = (Vec::new(), false, false, false, false);
    while let Some(word) = words.next() {
        if plain || !word.starts_with('-') || word == "-" {
            urls.push(word);
            continue;
        }
        if word == "--" {
            plain = true;
            continue;
        }
        let (option, attached) = split(&word);
        let mut value = || attached.clone().or_else(|| words.next()).ok_or_else(|| CurlError::NoValue(option.clone()));
        match option.as_str() {
            "-X" | "--request" => request.method = Some(value()?.to_ascii_uppercase()),
            "-H" | "--header" => {
                let line = value()?;
                match line.split_once(':') {
                    Some((name, text)) if !text.trim().is_empty() => header(&mut request, name.trim(), text.trim()),
                    // `Name;` sends an empty one and `Name:` takes curl's own away: neither can be kept.
                    _ => request.unknown.push(format!("{option} {line}")),
                }
            }
            "-d" | "--data" | "--data-ascii" | "--data-binary" | "--data-urlencode" => {
                let text = value()?;
                if let Some(name) = text.strip_prefix('@') {
                    return Err(CurlError::FromFile(name.to_owned()));
                }
                data.push(if option == "--data-urlencode" { urlencoded(&text) } else { text });
            }
            "--data-raw" => data.push(value()?),
            "--json" => {
                json = true;
                data.push(value()?);
            }
            "-u" | "--user" => {
                let text = value()?;
                let (name, password) = text.split_once(':').unwrap_or((&text, ""));
                request.user = Some((name.to_owned(), password.to_owned()));
            }
            "--oauth2-bearer" => request.bearer = Some(value()?),
            "-A" | "--user-agent" => {
                let text = value()?;
                header(&mut request, "User-Agent", &text);
            }
            "-e" | "--referer" => {
                let text = value()?;
                header(&mut request, "Referer", &text);
            }
            "-b" | "--cookie" => {
                let text = value()?;
                if !text.contains('=') {
                    return Err(CurlError::FromFile(text));
                }
                header(&mut request, "Cookie", &text);
            }
            "-m" | "--max-time" => request.timeout_s = Some(value()?),
            "-x" | "--proxy" => request.proxy = Some(value()?),
            "--url" => urls.push(value()?),
            "-k" | "--insecure" => request.insecure = true,
            "-L" | "--location" => request.follow = true,
            "-I" | "--head" => head = true,
            "-G" | "--get" => as_query = true,
            "-4" | "--ipv4" => request.ip_family = Some("4"),
            "-6" | "--ipv6" => request.ip_family = Some("6"),
            "--http1.1" => request.http_version = Some("1.1"),
            "--http2" | "--http2-prior-knowledge" => request.http_version = Some("2"),
            silent if SILENT.contains(&silent) => {}
            silent if SILENT_VALUED.contains(&silent) => drop(value()?),
            unknown if UNKNOWN_VALUED.contains(&unknown) => {
                value()?;
                request.unknown.push(unknown.to_owned());
            }
            unknown if letters(unknown) => {
                // Several letters in one word: each alone, as curl reads them.
                for letter in unknown.chars().skip(1) {
                    match letter {
                        'k' => request.insecure = true,
                        'L' => request.follow = true,
                        'I' => head = true,
                        'G' => as_query = true,
                        's' | 'S' | 'v' | 'i' | 'f' | 'N' | 'g' | 'O' => {}
                        other => request.unknown.push(format!("-{other}")),
                    }
                }
            }
            unknown => request.unknown.push(unknown.to_owned()),
        }
    }
    let url = match urls.as_slice() {
        [] => return Err(CurlError::NoUrl),
        [url] => url.clone(),
        _ => return Err(CurlError::ManyUrls),
    };
    request.url = if url.contains("://") { url } else { format!("http://{url}") };
    if !data.is_empty() {
        let joined = data.join(if json { "" } else { "&" });
        match as_query {
            true => request.url.push_str(&format!("{}{joined}", if request.url.contains('?') { '&' } else { '?' })),
            false => request.body = Some(joined),
        }
    }
    if request.body.is_some() {
        let named = |name: &str| request.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
        let (kind_missing, accept_missing) = (!named("Content-Type"), json && !named("Accept"));
        if kind_missing {
            request.headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        if accept_missing {
            request.headers.push(("Accept".to_owned(), "application/json".to_owned()));
        }
    }
    if request.method.is_none() {
        request.method = match (head, request.body.is_some()) {
            (true, _) => Some("HEAD".to_owned()),
            (false, true) => Some("POST".to_owned()),
            (false, false) => None,
        };
    }
    Ok(request)
}

fn header(request: &mut Request, name: &str, value: &str) {
    match value.split_once(' ') {
        Some((scheme, token)) if name.eq_ignore_ascii_case("authorization") && scheme.eq_ignore_ascii_case("bearer") => {
            request.bearer = Some(token.trim().to_owned());
        }
        _ => request.headers.push((name.to_owned(), value.to_owned())),
    }
}

/// An option and the value that stands in the same word: `-XPOST`, `--request=POST`.
fn split(word: &str) -> (String, Option<String>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        };
    }
    let valued = word.chars().nth(1).is_some_and(|letter| "XHdumAebxowDEFTrcK".contains(letter));
    match valued && word.chars().count() > 2 {
        true => (word.chars().take(2).collect(), Some(word.chars().skip(2).collect())),
        false => (word.to_owned(), None),
    }
}

/// Several options of one letter in one word.
fn letters(word: &str) -> bool {
    word.len() > 2 && !word.starts_with("--") && word[1..].bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// `name=text` with the text escaped, as curl does it.
fn urlencoded(text: &str) -> String {
    let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => format!("{name}={}", escaped(value)),
        Some((_, value)) => escaped(value),
        None => escaped(text),
    }
}

/// The words a shell would make of a line: quotes, `$'…'`, backslashes, and lines that go on; also those of Windows, with `^`.
fn words(command: &str) -> Result<Vec<String>, CurlError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = command.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        Some('\'') => break,
                        Some(letter) => word.push(letter),
                        None => return Err(CurlError::Unclosed('\'')),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        Some('"') => break,
                        Some('\\') => match letters.next() {
                            Some('\n') => {}
                            Some(next) if "\"\\$`".contains(next) => word.push(next),
                            Some(next) => word.extend(['\\', next]),
                            None => return Err(CurlError::Unclosed('"')),
                        },
                        Some(letter) => word.push(letter),
                        None => return Err(CurlError::Unclosed('"')),
                    }
                }
            }
            '$' if letters.peek() == Some(&'\'') => {
                letters.next();
                let word = word.get_or_insert_default();
                ansi(&mut letters, word)?;
            }
            '\\' | '^' if matches!(letters.peek(), Some('\n' | '\r')) => {
                while matches!(letters.peek(), Some('\n' | '\r')) {
                    letters.next();
                }
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter if letter.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The inside of `$'…'`.
fn ansi(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) -> Result<(), CurlError> {
    loop {
        match letters.next().ok_or(CurlError::Unclosed('\''))? {
            '\'' => return Ok(()),
            '\\' => match letters.next().ok_or(CurlError::Unclosed('\''))? {
                'n' => word.push('\n'),
                't' => word.push('\t'),
                'r' => word.push('\r'),
                mark @ ('u' | 'x') => {
                    let most = if mark == 'u' { 4 } else { 2 };
                    let mut digits = String::new();
                    while digits.len() < most && letters.peek().is_some_and(char::is_ascii_hexdigit) {
                        digits.extend(letters.next());
                    }
                    word.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                other => word.push(other),
            },
            letter => word.push(letter),
        }
    }
}

#[cfg(test)]
mod tests;
