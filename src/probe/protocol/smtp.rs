//! A mail server: its greeting, `EHLO`, `STARTTLS` where it is offered, a log-in where there is a password, `NOOP` (RFC 5321, 3207, 4954).
//!
//! **Invariant.** No password goes over a connection others can read, but to this machine itself.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::model::service::TlsOptions;
use crate::probe::protocol::{Dialer, Line, Login, Server, Step, Steps, Trouble, excerpt};

/// Lines of one answer.
const MOST_LINES: usize = 100;

/// What the server calls itself. `starttls`: how it is verified where it offers TLS in mid-conversation.
pub async fn greet(
    dialer: &Dialer,
    server: &Server,
    login: &Login,
    starttls: &TlsOptions,
    steps: &Steps,
) -> Result<Option<String>, Trouble> {
    let mut line = dialer.line(server, steps).await?;
    steps.reach(Step::Protocol);
    let greeting = answer(&mut line).await?.must(220, "greets with")?;
    let mut offers = ehlo(&mut line).await?;
    let mut secret = server.tls.is_some();
    if !secret && offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS")) {
        ask(&mut line, "STARTTLS").await?.must(220, "answers STARTTLS with")?;
        line = Line::over(dialer.secure(line.pipe, &server.host, starttls, steps).await?);
        steps.reach(Step::Protocol);
        offers = ehlo(&mut line).await?;
        secret = true;
    }
    if let (Some(user), Some(password)) = (&login.user, &login.password) {
        steps.reach(Step::Auth);
        let own =
            server.host == "localhost" || server.host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if !secret && !own {
            return Err(Trouble::auth("the server offers no TLS, and a password is not sent in the clear"));
        }
        log_in(&mut line, &offers, user, password).await?;
    }
    steps.reach(Step::Protocol);
    ask(&mut line, "NOOP").await?.must(250, "answers NOOP with")?;
    // It is answered or not; the check is done.
    let _ = line.send(b"QUIT\r\n").await;
    // The first word of the greeting is the host's name.
    let itself = greeting.first().and_then(|text| text.split_once(' ')).map(|(_, rest)| excerpt(rest.trim()));
    Ok(itself.filter(|itself| !itself.is_empty()))
}

async fn log_in(line: &mut Line, offers: &[String], user: &str, password: &str) -> Result<(), Trouble> {
    let offered = |name: &str| {
        let auth = offers.iter().find(|offer| offer.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("AUTH ")));
        auth.is_some_and(|auth| auth.split(' ').any(|word| word.eq_ignore_ascii_case(name)))
    };
    let last = if offered("PLAIN") {
        ask(line, &format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0{user}\0{password}")))).await?
    } else if offered("LOGIN") {
        ask(line, "AUTH LOGIN").await?.must(334, "answers AUTH LOGIN with")?;
        ask(line, &BASE64_STANDARD.encode(user)).await?.must(334, "answers the user name with")?;
        ask(line, &BASE64_STANDARD.encode(password)).await?
    } else {
        return Err(Trouble::auth("the server offers no log-in by PLAIN or LOGIN"));
    };
    match last.code {
        235 => Ok(()),
        535 | 534 | 530 => Err(Trouble::auth(format!("the server refuses the user name or password ({})", last.code))),
        code => Err(Trouble::auth(format!("the server refuses the log-in ({code})"))),
    }
}

struct Answer {
    code: u16,
    lines: Vec<String>,
}

impl Answer {
    fn must(self, code: u16, what: &str) -> Result<Vec<String>, Trouble> {
        if self.code == code {
            return Ok(self.lines);
        }
        let said = excerpt(self.lines.first().map_or("", String::as_str));
        Err(Trouble::protocol(format!("the server {what} {} {said}", self.code)))
    }
}

async fn ehlo(line: &mut Line) -> Result<Vec<String>, Trouble> {
    let offers = ask(line, "EHLO probemesh.invalid").await?.must(250, "answers EHLO with")?;
    Ok(offers.into_iter().skip(1).collect())
}

async fn ask(line: &mut Line, words: &str) -> Result<Answer, Trouble> {
    line.send(format!("{words}\r\n").as_bytes()).await?;
    answer(line).await
}

async fn answer(line: &mut Line) -> Result<Answer, Trouble> {
    let mut lines = Vec::new();
    while lines.len() < MOST_LINES {
        let text = line.line().await?;
        let strange = || Trouble::protocol(format!("the server does not speak SMTP: it says {:?}", excerpt(&text)));
        let code: u16 = text.get(..3).and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code)).ok_or_else(strange)?;
        lines.push(text.get(4..).unwrap_or_default().to_owned());
        match text.as_bytes().get(3) {
            Some(b'-') => {}
            None | Some(b' ') => return Ok(Answer { code, lines }),
            Some(_) => return Err(strange()),
        }
    }
    Err(Trouble::protocol("the server's answer has no end"))
}
