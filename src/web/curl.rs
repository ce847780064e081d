//! A curl command, as a browser's tools or a manual give it → what a service needs of it. Pure.
//!
//! What only says how curl prints is left out silently; what would change the request and is not understood is told.

mod options;
mod shell;

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
    /// How many redirects are followed at most.
    pub redirects: Option<String>,
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

/// What was read of a command so far.
#[derive(Default)]
struct Reading {
    request: Request,
    urls: Vec<String>,
    data: Vec<String>,
    /// What is put behind the `?` of the address.
    queries: Vec<String>,
    as_query: bool,
    json: bool,
    head: bool,
}

pub fn parse(command: &str) -> Result<Request, CurlError> {
    let mut words = shell::words(command)?.into_iter();
    let mut reading = Reading::default();
    begin(&mut words, &mut reading.request)?;
    let mut plain = false;
    while let Some(word) = words.next() {
        if plain || !word.starts_with('-') || word == "-" {
            reading.urls.push(word);
        } else if word == "--" {
            plain = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, attached) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
            let shown = format!("--{name}");
            let value = match options::takes_value(name) {
                true => attached.or_else(|| words.next()).ok_or_else(|| CurlError::NoValue(shown.clone()))?,
                false => String::new(),
            };
            reading.take(name, &shown, value)?;
        } else {
            let mut letters = word[1..].chars();
            while let Some(letter) = letters.next() {
                let shown = format!("-{letter}");
                let name = options::of_letter(letter).unwrap_or_default();
                if options::takes_value(name) {
                    // The rest of the word is the value, or else the next word is.
                    let value = if letters.as_str().is_empty() { words.next() } else { Some(letters.as_str().to_owned()) };
                    reading.take(name, &shown, value.ok_or_else(|| CurlError::NoValue(shown.clone()))?)?;
                    break;
                }
                reading.take(name, &shown, String::new())?;
            }
        }
    }
    reading.finish()
}

/// Reads up to `curl`: a prompt may have been copied along, and other things may stand before it.
fn begin(words: &mut impl Iterator<Item = String>, request: &mut Request) -> Result<(), CurlError> {
    let mut passed = false;
    for word in words {
        if word.rsplit('/').next() == Some("curl") || word.eq_ignore_ascii_case("curl.exe") {
            return Ok(());
        }
        match word.split_once('=') {
            Some((name, _)) if is_variable(name) => {
                // curl reads its proxies from the environment, too.
                if name.to_ascii_lowercase().ends_with("_proxy") {
                    request.unknown.push(name.to_owned());
                }
            }
            _ if matches!(word.as_str(), "$" | "%") => {}
            _ if matches!(word.as_str(), "sudo" | "time" | "env" | "command") => passed = true,
            // Options of what was passed over, as in `sudo -E` and `time -p`.
            _ if passed && word.starts_with('-') => {}
            _ => return Err(CurlError::NotCurl),
        }
    }
    Err(CurlError::NotCurl)
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

impl Reading {
    /// Takes one option: by its long name, as it was written, and with its value, if it is one that has any.
    fn take(&mut self, name: &str, shown: &str, value: String) -> Result<(), CurlError> {
        let request = &mut self.request;
        match name {
            "request" => request.method = Some(value.to_ascii_uppercase()),
            "header" => match value.split_once(':') {
                Some((name, text)) if !text.trim().is_empty() => header(request, name.trim(), text.trim()),
                // `Name;` sends an empty one and `Name:` takes curl's own away: neither can be kept.
                _ => request.unknown.push(format!("{shown} {value}")),
            },
            "data" | "data-ascii" | "data-binary" => self.data.push(no_file(value)?),
            "data-urlencode" => self.data.push(urlencoded(&value)?),
            "data-raw" => self.data.push(value),
            "json" => {
                self.json = true;
                self.data.push(no_file(value)?);
            }
            "url-query" => self.queries.push(match value.strip_prefix('+') {
                Some(as_it_is) => as_it_is.to_owned(),
                None => urlencoded(&value)?,
            }),
            "user" => {
                let (name, password) = value.split_once(':').unwrap_or((&value, ""));
                request.user = Some((name.to_owned(), password.to_owned()));
            }
            "oauth2-bearer" => request.bearer = Some(value),
            "user-agent" => header(request, "User-Agent", &value),
            "referer" => header(request, "Referer", &value),
            "cookie" if value.contains('=') => header(request, "Cookie", &value),
            "cookie" => return Err(CurlError::FromFile(value)),
            "max-time" => request.timeout_s = Some(value),
            // -1 is no limit, and there is one here.
            "max-redirs" if !value.starts_with('-') => request.redirects = Some(value),
            "proxy" => request.proxy = Some(value),
            "url" => self.urls.push(value),
            "insecure" => request.insecure = true,
            "location" => request.follow = true,
            "location-trusted" => {
                request.follow = true;
                request.unknown.push(shown.to_owned());
            }
            "head" => self.head = true,
            "get" => self.as_query = true,
            "ipv4" => request.ip_family = Some("4"),
            "ipv6" => request.ip_family = Some("6"),
            "http1.1" => request.http_version = Some("1"),
            "http2" | "http2-prior-knowledge" => request.http_version = Some("2"),
            silent if options::is_silent(silent) => {}
            _ => request.unknown.push(shown.to_owned()),
        }
        Ok(())
    }

    /// What all the options together ask for.
    fn finish(self) -> Result<Request, CurlError> {
        let Reading { mut request, urls, data, mut queries, as_query, json, head } = self;
        let url = match urls.as_slice() {
            [] => return Err(CurlError::NoUrl),
            [url] => url.clone(),
            _ => return Err(CurlError::ManyUrls),
        };
        request.url = if url.contains("://") { url } else { format!("http://{url}") };
        if !data.is_empty() {
            let joined = data.join(if json { "" } else { "&" });
            match as_query {
                true => queries.push(joined),
                false => request.body = Some(joined),
            }
        }
        if !queries.is_empty() {
            let mark = if request.url.contains('?') { '&' } else { '?' };
            request.url.push_str(&format!("{mark}{}", queries.join("&")));
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
}

/// A header; the first token of a bearer is the service's own, a second one stays beside it to be seen.
fn header(request: &mut Request, name: &str, value: &str) {
    match value.split_once(' ') {
        Some((scheme, token))
            if name.eq_ignore_ascii_case("authorization") && scheme.eq_ignore_ascii_case("bearer") && request.bearer.is_none() =>
        {
            request.bearer = Some(token.trim().to_owned());
        }
        _ => request.headers.push((name.to_owned(), value.to_owned())),
    }
}

/// A value that is not the name of a file.
fn no_file(value: String) -> Result<String, CurlError> {
    match value.strip_prefix('@') {
        Some(name) => Err(CurlError::FromFile(name.to_owned())),
        None => Ok(value),
    }
}

/// `name=text` with the text escaped, as curl does it; `name@file` is a file.
fn urlencoded(text: &str) -> Result<String, CurlError> {
    let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match text.split_once(['=', '@']) {
        Some((name, file)) if text[name.len()..].starts_with('@') => Err(CurlError::FromFile(file.to_owned())),
        Some((name, value)) if !name.is_empty() => Ok(format!("{name}={}", escaped(value))),
        Some((_, value)) => Ok(escaped(value)),
        None => Ok(escaped(text)),
    }
}

#[cfg(test)]
mod tests;
