//! Failures in words that do not say whom a message was for: they go to the log, to the store and to operators. Pure.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use crate::probe::redact::REDACTED;

/// What a mail server said, without the address a mail was for, in any letters, and without any other.
pub fn without_address(words: &str, address: &str) -> String {
    let shown: Vec<&str> = words.split(' ').map(|word| if word.contains('@') { REDACTED } else { word }).collect();
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    without_word(&shown.join(" "), local)
}

/// What went wrong with a request, without the host, the path and the query it went to, and without addresses of machines.
pub fn without_url(words: &str, url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let path = url.path().trim_matches('/');
    let mut shown = words.to_owned();
    for hidden in [url.as_str(), path, url.query().unwrap_or_default(), host] {
        shown = without_word(&shown, hidden);
    }
    let machine = |word: &str| {
        let word = word.trim_start_matches('(').trim_end_matches([':', ',', ';', ')', '.']);
        word.parse::<SocketAddr>().is_ok() || word.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    };
    shown.split(' ').map(|word| if machine(word) { REDACTED } else { word }).collect::<Vec<_>>().join(" ")
}

/// Without a text wherever it stands by itself, in whatever letters.
fn without_word(words: &str, hidden: &str) -> String {
    // Letter by letter, so that no place in the one is taken for a place in the other.
    let letters: Vec<char> = words.chars().collect();
    let hidden: Vec<char> = hidden.chars().collect();
    let same = |one: &char, other: &char| one == other || one.to_lowercase().eq(other.to_lowercase());
    let word = |place: Option<&char>| place.is_some_and(|letter| letter.is_alphanumeric());
    let mut shown = String::new();
    let mut at = 0;
    while at < letters.len() {
        let rest = &letters[at..];
        let is_here = !hidden.is_empty()
            && rest.len() >= hidden.len()
            && rest.iter().zip(&hidden).all(|(one, other)| same(one, other))
            && !(at > 0 && word(letters.get(at - 1)) && word(hidden.first()))
            && !(word(rest.get(hidden.len())) && word(hidden.last()));
        if is_here {
            shown.push_str(REDACTED);
            at += hidden.len();
        } else {
            shown.push(letters[at]);
            at += 1;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_names_nobody() {
        let hide = |words: &str| without_address(words, "Ada.Lovelace@example.com");
        for said in [
            "550: 5.1.1 <ADA.LOVELACE@EXAMPLE.COM>: Recipient address rejected",
            "550: 5.1.1 ada.lovelace is no user here",
            "550: mailbox of Ada.Lovelace, at <ada.lovelace@mail.example.net>, is full",
            "Ada.Lovelace@example.com was refused: 550",
        ] {
            let told = hide(said);
            assert!(!told.to_lowercase().contains("lovelace") && !told.contains('@') && told.contains("550"), "{told}");
        }
        let short = without_address("550: a mailbox was not found, a", "a@example.com");
        assert_eq!(short, "550: [redacted] mailbox was not found, [redacted]");
        assert_eq!(without_address("250: queued as İ4711", "i@example.com"), "250: queued as İ4711");
    }

    #[test]
    fn a_request_says_nothing_of_where_it_went() {
        let url = Url::parse("https://Hooks.Example.com:8443/T0/secret-Path?key=hidden").expect("an address");
        for (said, told) in [
            ("answered 404", "answered 404"),
            ("certificate not valid for name \"hooks.example.com\"", "certificate not valid for name \"[redacted]\""),
            ("tcp connect error: 203.0.113.7:8443: refused", "tcp connect error: [redacted] refused"),
            ("10.0.0.1 lies in a network that is blocked", "[redacted] lies in a network that is blocked"),
            ("at /T0/SECRET-path?key=hidden", "at /[redacted]?[redacted]"),
            ("no answer within 10 s", "no answer within 10 s"),
        ] {
            assert_eq!(without_url(said, &url), told);
        }
        let literal = Url::parse("http://[2001:db8::1]/x").expect("an address");
        assert_eq!(without_url("2001:db8::1 lies in a network", &literal), "[redacted] lies in a network");
    }
}
