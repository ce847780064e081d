//! Mail by a real SMTP server: over each kind of connection, with and without an account, and what it refuses.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use probemesh::model::alert::{Message, Telling};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{CAUSE, KEY, SECRET, channel, message, sender, sender_with};
use crate::smtp_server::SmtpServer;

fn config(server: &SmtpServer, security: &str) -> Value {
    json!({
        "host": "localhost", "port": server.port, "security": security, "from": "Monitor <monitor@example.com>",
        "to": ["Ada <ada@example.com>", "bob@example.com"], "ca": server.ca,
    })
}

fn with_account(mut config: Value, password: &str) -> Value {
    config["username"] = json!("monitor");
    config["password"] = json!(password);
    config
}

/// A mail taken apart: its headers on one line each, and its parts decoded.
pub fn taken_apart(mail: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (head, body) = mail.split_once("\r\n\r\n").expect("it has a body");
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let headers: Vec<(String, String)> =
        head.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let kind = header(&headers, "Content-Type");
    let boundary = kind.split("boundary=\"").nth(1).expect("it has parts").split('"').next().unwrap();
    let mark = format!("--{boundary}");
    let parts = body.split(&mark).skip(1).filter_map(|part| part.trim_start().split_once("\r\n\r\n")).map(decoded);
    (headers, parts.collect())
}

pub fn header(headers: &[(String, String)], name: &str) -> String {
    headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone()).unwrap_or_default()
}

fn decoded((head, body): (&str, &str)) -> String {
    let bytes = if head.contains("base64") {
        STANDARD.decode(body.split_whitespace().collect::<String>()).expect("it is base64")
    } else if head.contains("quoted-printable") {
        let text = body.replace("=\r\n", "");
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            if *first == b'=' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
                rest = &after[2..];
            } else {
                bytes.push(*first);
                rest = after;
            }
        }
        bytes
    } else {
        body.as_bytes().to_vec()
    };
    String::from_utf8(bytes).expect("it is UTF-8").replace("\r\n", "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_goes_over_each_kind_of_connection_in_both_forms() {
    for (security, account) in [("starttls", true), ("tls", true), ("plain", false)] {
        let password = format!("pass:word {SECRET}");
        let server = SmtpServer::start(security, account.then(|| format!("monitor:{password}")).as_deref());
        let word = if security == "plain" { "none" } else { security };
        let config = if account { with_account(config(&server, word), &password) } else { config(&server, word) };
        let channel = channel("email", config);
        assert_eq!(sender().doubts(&channel).await, [], "{security}");
        let receipt =
            sender().deliver(&channel, &message(Telling::Raised)).await.unwrap_or_else(|failure| panic!("{security}: {failure:?}"));
        assert_eq!(receipt.answer, "250: 2.0.0 queued as 4711");
        let told = server.mail();
        assert_eq!((&told["from"], &told["to"]), (&json!("monitor@example.com"), &json!(["ada@example.com", "bob@example.com"])));
        assert_eq!(
            (&told["authenticated"], &told["tls"], &told["hello"]),
            (&json!(account), &json!(security != "plain"), &json!("hub.example"))
        );
        let (headers, parts) = taken_apart(told["mail"].as_str().expect("it has a text"));
        let header = |name| header(&headers, name);
        assert_eq!(header("Subject"), "shop: TLS handshake fails in 2 of 2 regions");
        assert_eq!(header("To"), "Ada <ada@example.com>, bob@example.com");
        assert_eq!(header("Message-ID"), format!("<{KEY}@example.com>"));
        assert_eq!(header("References"), format!("<cause.{CAUSE}@example.com>"));
        assert_eq!(header("Date"), "Sun, 22 Nov 2026 10:12:00 +0000");
        assert_eq!(header("Auto-Submitted"), "auto-generated");
        assert!(header("Content-Type").starts_with("multipart/alternative"), "{headers:?}");
        assert!(
            parts[0].starts_with("shop: TLS handshake fails in 2 of 2 regions\n\nSince: 2026-11-22 10:00:00 UTC, 12 minutes ago\n"),
            "{}",
            parts[0]
        );
        assert!(parts[1].starts_with("<!DOCTYPE html>") && parts[1].contains("TLS: certificate has &lt;expired&gt;"), "{}", parts[1]);
        assert!(!parts[1].contains("src=") && !parts[1].contains("<script"), "nothing is loaded from elsewhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_of_one_cause_are_one_thread_and_a_text_ends_no_header() {
    let server = SmtpServer::start("plain", None);
    let channel = channel("email", config(&server, "none"));
    let nasty = "höhe\r\nBcc: everyone@example.com\r\n\r\n<b>x</b>";
    let thread = format!("<cause.{CAUSE}@example.com>");
    for (telling, key) in [(Telling::Raised, "one"), (Telling::Acknowledged, "two"), (Telling::Recovered, "three")] {
        let message = Message { key: key.to_owned(), headline: nasty.to_owned(), service: None, ..message(telling) };
        sender().deliver(&channel, &message).await.expect("it is taken");
        let told = server.mail();
        assert_eq!(told["to"], json!(["ada@example.com", "bob@example.com"]));
        let (headers, parts) = taken_apart(told["mail"].as_str().unwrap());
        assert_eq!((header(&headers, "References"), header(&headers, "Message-ID")), (thread.clone(), format!("<{key}@example.com>")));
        assert_eq!(header(&headers, "In-Reply-To"), if telling == Telling::Raised { String::new() } else { thread.clone() });
        assert!(headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("bcc")), "{headers:?}");
        assert!(parts[0].contains("höhe  Bcc: everyone@example.com    <b>x</b>"), "{}", parts[0]);
        assert!(parts[1].contains("&lt;b&gt;x&lt;/b&gt;") && !parts[1].contains("<b>x</b>"), "{}", parts[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_told_in_its_words_without_the_password() {
    let server = SmtpServer::start("starttls", Some("monitor:right"));
    let wrong = channel("email", with_account(config(&server, "starttls"), SECRET));
    let failure = sender().deliver(&wrong, &message(Telling::Raised)).await.expect_err("the password is wrong");
    assert!(failure.permanent && failure.reason.starts_with("log-in: 535: "), "{failure:?}");
    assert!(!failure.reason.contains(SECRET), "{failure:?}");
    let doubts = sender().doubts(&wrong).await;
    assert!(doubts.len() == 1 && doubts[0].path == "host" && doubts[0].message.starts_with("log-in: 535: "), "{doubts:?}");

    // Its certificate is from no authority the system knows.
    let mut untrusted = with_account(config(&server, "starttls"), "right");
    untrusted.as_object_mut().unwrap().remove("ca");
    let failure = sender().deliver(&channel("email", untrusted), &message(Telling::Raised)).await.expect_err("it is not trusted");
    assert!(!failure.permanent && failure.reason.contains("STARTTLS") && failure.reason.contains("certificate"), "{failure:?}");
    assert!(server.has_no_mail());

    // What was to be secure is not sent over a connection that is not.
    let plain = SmtpServer::start("plain", None);
    let demanding = channel("email", with_account(config(&plain, "starttls"), SECRET));
    let failure = sender().deliver(&demanding, &message(Telling::Raised)).await.expect_err("there is no STARTTLS");
    assert!(failure.reason.ends_with("offers no STARTTLS"), "{failure:?}");
    assert!(plain.has_no_mail());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recipient_who_is_refused_keeps_no_other_from_being_told() {
    let server = SmtpServer::start("plain", None);
    let to = |names: &[&str]| {
        let mut config = config(&server, "none");
        config["to"] = json!(names.iter().map(|name| format!("{name}@example.com")).collect::<Vec<_>>());
        channel("email", config)
    };
    let receipt = sender().deliver(&to(&["unknown", "ada"]), &message(Telling::Raised)).await.expect("one is told");
    assert!(
        receipt.answer.contains("but unknown@example.com was refused: recipient: 550: 5.1.1 no such mailbox here"),
        "{}",
        receipt.answer
    );
    assert_eq!(server.mail()["to"], json!(["ada@example.com"]));
    let failure = sender().deliver(&to(&["unknown"]), &message(Telling::Raised)).await.expect_err("nobody is told");
    assert!(failure.permanent, "{failure:?}");
    let failure = sender().deliver(&to(&["unknown", "busy"]), &message(Telling::Raised)).await.expect_err("nobody is told");
    assert!(!failure.permanent && failure.reason.contains("450: 4.2.0 greylisted"), "{failure:?}");
    assert!(server.has_no_mail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            held.push(tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await }));
        }
    });
    let sender = sender_with(|settings| settings.send_timeout = Duration::from_millis(200));
    let mail = json!({"host": "127.0.0.1", "port": port, "security": "none", "from": "a@example.com", "to": ["b@example.com"]});
    let began = Instant::now();
    let failure = sender.deliver(&channel("email", mail), &message(Telling::Raised)).await.expect_err("it hangs");
    assert!(!failure.permanent && failure.reason.contains("did not take the mail within 0.6 s"), "{failure:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
}
