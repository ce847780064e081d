//! Mail by an SMTP server: over TLS from the start, or after STARTTLS, or plain where that is asked for in so many words.
//!
//! All mails about one cause refer to the same message, so that a mail client shows them as one thread; the id of a mail
//! follows from the telling's key, so that a mail sent twice can be seen to be one.
//!
//! One recipient who is refused keeps no other from being told.
//!
//! **Invariant.** Neither user name nor password nor a mail goes over a connection that is not what `security` says.

pub mod letter;

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail, MultiPart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};

use crate::alert::channel::call::{addresses, never, passing};
use crate::alert::channel::fields::{Field, Fields, Form, field};
use crate::alert::channel::reach;
use crate::alert::channel::sender::{BLOCKED_BY, Sender};
use crate::alert::message::{Parts, html, plain};
use crate::config::mistake::Mistake;
use crate::model::alert::{DeliveryFailure, Message, Telling};

pub const FIELDS: &[Field] = &[
    field("host", Form::Text, "The SMTP server").required().place(),
    field("port", Form::Number { least: 1, most: 65_535 }, "Usually 587 for starttls, 465 for tls, 25 for none").place(),
    field("security", Form::Choice(&["starttls", "tls", "none"]), "Usually starttls; none sends everything in the clear").place(),
    field("username", Form::Text, "Where the server asks for one"),
    field("password", Form::Secret, "Of the user name"),
    field("from", Form::Text, "The sender, such as probemesh <monitor@example.com>").required(),
    field("to", Form::Texts, "Who gets the mails").required(),
    field("reply_to", Form::Text, "Where answers go, if not to the sender"),
    field("subject_prefix", Form::Text, "Put before each subject, such as [monitor]"),
    field("ca", Form::Text, "An authority to trust beside the system's, in PEM form"),
    field("hello_name", Form::Text, "What the hub calls itself; the host of its own address, if it knows one"),
];

/// A server that greets slowly on purpose is given more than one that answers requests.
const PATIENCE: u32 = 3;

#[derive(Clone, PartialEq)]
pub struct Email {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<(String, String)>,
    from: Mailbox,
    to: Vec<Mailbox>,
    reply_to: Option<Mailbox>,
    subject_prefix: Option<String>,
    ca: Option<String>,
    hello_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    StartTls,
    Tls,
    None,
}

impl Email {
    pub fn read(fields: &mut Fields) -> Email {
        let security = match fields.text("security").as_deref() {
            Some("tls") => Security::Tls,
            Some("none") => Security::None,
            _ => Security::StartTls,
        };
        let usual = match security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::None => 25,
        };
        let host = fields.needed("host").trim_matches(['[', ']']).to_owned();
        if host.contains(['/', ':', ' ']) && host.parse::<std::net::IpAddr>().is_err() {
            fields.wrong("host", "must be the name or address of a host alone");
        }
        let credentials = match (fields.text("username"), fields.verbatim("password")) {
            (Some(username), Some(password)) => Some((username, password)),
            (None, None) => None,
            (Some(_), None) => {
                fields.wrong("password", "is missing: a user name and a password belong together");
                None
            }
            (None, Some(_)) => {
                fields.wrong("username", "is missing: a user name and a password belong together");
                None
            }
        };
        let nobody = || "nobody@example.com".parse::<Mailbox>().expect("it is an address");
        let from = mailbox(fields, "from", &fields.needed("from")).unwrap_or_else(nobody);
        let recipients = fields.texts("to");
        let to = recipients.iter().enumerate().filter_map(|(index, text)| mailbox(fields, &format!("to[{index}]"), text)).collect();
        let reply_to = fields.text("reply_to").and_then(|text| mailbox(fields, "reply_to", &text));
        let ca = fields.verbatim("ca");
        if ca.as_ref().is_some_and(|pem| Certificate::from_pem(pem.as_bytes()).is_err() || !pem.contains("BEGIN CERTIFICATE")) {
            fields.wrong("ca", "holds no certificate in PEM form");
        }
        Email {
            host,
            port: fields.number("port").map_or(usual, |port| port as u16),
            security,
            credentials,
            from,
            to,
            reply_to,
            subject_prefix: fields.text("subject_prefix"),
            ca,
            hello_name: fields.text("hello_name"),
        }
    }

    pub async fn deliver(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<String, DeliveryFailure> {
        let mail = self.mail(sender, message, parts).map_err(never)?.formatted();
        let limit = sender.timeout * PATIENCE;
        let sending = async {
            let mut connection = self.connect(sender).await?;
            let sent = self.send(&mut connection, &mail).await.map_err(|unsent| unsent.failure);
            // It was taken or it was not; how the goodbye goes changes nothing of that.
            let _ = tokio::time::timeout(Duration::from_secs(1), connection.quit()).await;
            sent
        };
        tokio::time::timeout(limit, sending)
            .await
            .unwrap_or_else(|_| Err(passing(format!("{}:{} did not take the mail within {} s", self.host, self.port, limit.as_secs_f64()))))
    }

    /// Logs in and out again, and sends nothing.
    pub async fn doubts(&self, sender: &Sender) -> Vec<Mistake> {
        let mut doubts = Vec::new();
        let local = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if self.security == Security::None && !local {
            doubts.push(Mistake::new("security", "is none: mails, user name and password go over the network in the clear"));
        }
        if let Some(doubt) = reach::place(sender, "host", &self.host, self.port).await {
            doubts.push(doubt);
            return doubts;
        }
        let login = async {
            let mut connection = self.connect(sender).await?;
            let _ = tokio::time::timeout(Duration::from_secs(1), connection.quit()).await;
            Ok(())
        };
        match tokio::time::timeout(sender.timeout, login).await {
            Ok(Ok(())) => {}
            Ok(Err(DeliveryFailure { reason, .. })) => doubts.push(Mistake::new("host", reason)),
            Err(_) => doubts
                .push(Mistake::new("host", format!("{}:{} did not greet within {} s", self.host, self.port, sender.timeout.as_secs_f64()))),
        }
        doubts
    }

    /// As secure as it is to be, and logged in.
    async fn connect(&self, sender: &Sender) -> Result<AsyncSmtpConnection, DeliveryFailure> {
        let hello = self.hello(sender);
        let found = addresses(&self.host, self.port, &sender.blocked, BLOCKED_BY).await;
        let found = found.map_err(|error| passing(format!("host {} cannot be found: {error}", self.host)))?;
        let tls = (self.security == Security::Tls).then(|| self.tls()).transpose()?;
        let connected = AsyncSmtpConnection::connect_tokio1(&*found, Some(sender.timeout), &hello, tls, None).await;
        let mut connection = connected.map_err(|error| self.failure("connecting", &error))?;
        if self.security == Security::StartTls {
            if !connection.can_starttls() {
                return Err(passing(format!("{}:{} offers no STARTTLS", self.host, self.port)));
            }
            connection.starttls(self.tls()?, &hello).await.map_err(|error| self.failure("STARTTLS", &error))?;
        }
        if let Some((username, password)) = &self.credentials {
            let credentials = Credentials::new(username.clone(), password.clone());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, &credentials).await.map_err(|error| self.failure("log-in", &error))?;
        }
        Ok(connection)
    }

    fn hello(&self, sender: &Sender) -> ClientId {
        let own = || sender.own.as_ref().and_then(|own| own.domain()).map(str::to_owned);
        self.hello_name.clone().or_else(own).map_or_else(ClientId::default, ClientId::Domain)
    }

    fn tls(&self) -> Result<TlsParameters, DeliveryFailure> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.ca {
            let authority = Certificate::from_pem(pem.as_bytes()).map_err(|error| never(format!("ca cannot be used: {error}")))?;
            builder = builder.add_root_certificate(authority);
        }
        builder.build().map_err(|error| passing(format!("TLS cannot be set up: {error}")))
    }

    async fn send(&self, connection: &mut AsyncSmtpConnection, mail: &[u8]) -> Result<String, Unsent> {
        let mut options = Vec::new();
        let wide = |mailbox: &Mailbox| !mailbox.email.to_string().is_ascii();
        if (self.to.iter().any(wide) || wide(&self.from)) && connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            options.push(MailParameter::SmtpUtfEight);
        }
        if !mail.is_ascii() {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let from = MailFrom::new(Some(self.from.email.clone()), options);
        connection.command(from).await.map_err(|error| self.failure("sender", &error))?;
        let (mut taken, mut refused) = (0, Vec::new());
        for mailbox in &self.to {
            match connection.command(Rcpt::new(mailbox.email.clone(), Vec::new())).await {
                Ok(_) => taken += 1,
                Err(error) => refused.push((mailbox.email.to_string(), self.failure("recipient", &error))),
            }
        }
        let told: Vec<String> = refused.iter().map(|(who, failure)| format!("{who} was refused: {}", failure.reason)).collect();
        if taken == 0 {
            let _ = connection.command(Rset).await;
            let permanent = refused.iter().all(|(_, failure)| failure.permanent);
            return Err(Unsent { failure: DeliveryFailure { permanent, ..passing(told.join("; ")) }, refused: true });
        }
        connection.command(Data).await.map_err(|error| self.failure("DATA", &error))?;
        let answer = connection.message(mail).await.map_err(|error| self.failure("mail", &error))?;
        let words: Vec<&str> = answer.message().collect();
        let mut said = format!("{}: {}", answer.code(), words.join(" "));
        if !told.is_empty() {
            said.push_str(&format!("; but {}", told.join("; ")));
        }
        Ok(said)
    }

    /// The server's words, or the system's.
    fn failure(&self, step: &str, error: &Error) -> DeliveryFailure {
        let source = std::error::Error::source(error).map(|source| format!("{:#}", chain(source)));
        let reason = match (error.status(), source) {
            (Some(code), Some(words)) => format!("{step}: {code}: {words}"),
            (Some(code), None) => format!("{step}: {code}"),
            (None, Some(words)) => format!("{step} at {}:{} failed: {words}", self.host, self.port),
            (None, None) => format!("{step} at {}:{} failed: {error}", self.host, self.port),
        };
        DeliveryFailure { permanent: error.is_permanent() || error.is_client(), ..passing(reason) }
    }

    fn mail(&self, sender: &Sender, message: &Message, parts: &Parts) -> Result<Mail, String> {
        let at = UNIX_EPOCH + Duration::from_micros(u64::try_from(sender.clock.now().0).unwrap_or(0));
        let domain = self.from.email.domain();
        let thread = format!("<cause.{}@{domain}>", fit(&message.cause));
        let subject = plain::subject(parts);
        let subject = self.subject_prefix.as_ref().map_or(subject.clone(), |prefix| format!("{prefix} {subject}"));
        let mut builder = Mail::builder()
            .from(self.from.clone())
            .subject(subject)
            .date(at)
            .message_id(Some(format!("<{}@{domain}>", fit(&message.key))))
            .references(thread.clone())
            // Nobody's holiday notice answers a machine (RFC 3834).
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("X-Probemesh-Cause", &fit(&message.cause)))
            .raw_header(raw("X-Probemesh-Telling", message.telling.name()));
        if !matches!(message.telling, Telling::Raised | Telling::Word | Telling::Test) {
            builder = builder.in_reply_to(thread);
        }
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        for mailbox in &self.to {
            builder = builder.to(mailbox.clone());
        }
        let body = MultiPart::alternative_plain_html(plain::whole(parts), html::page(parts));
        builder.multipart(body).map_err(|error| format!("mail cannot be written: {error}"))
    }
}

/// Why a mail was not taken.
struct Unsent {
    failure: DeliveryFailure,
    /// None of its recipients was.
    refused: bool,
}

impl From<DeliveryFailure> for Unsent {
    fn from(failure: DeliveryFailure) -> Unsent {
        Unsent { failure, refused: false }
    }
}

fn mailbox(fields: &mut Fields, path: &str, text: &str) -> Option<Mailbox> {
    match text.parse::<Mailbox>() {
        Ok(mailbox) => Some(mailbox),
        Err(error) => {
            fields.wrong(path, format!("{text:?} is not a mail address: {error}"));
            None
        }
    }
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// What an id of RFC 5322 may hold.
fn fit(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_') { letter } else { '-' }).collect()
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        told.push_str(&format!(": {error}"));
        next = error.source();
    }
    told
}
