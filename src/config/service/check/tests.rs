use std::time::Duration;

use serde_json::{Value, json};

use crate::config::service::ServiceDocument;
use crate::model::id::ServiceId;
use crate::model::service::Schedule;

/// What is said of a service with these fields beside its name and address.
fn said(fields: Value) -> Vec<String> {
    let mut whole = json!({"name": "a", "base_url": "https://a.example"});
    for (name, value) in fields.as_object().expect("fields") {
        whole[name] = value.clone();
    }
    let document = ServiceDocument::read(&whole).expect("it reads");
    let mistakes = document.check_written(ServiceId(0), &Schedule::Interval(Duration::from_secs(60))).err().unwrap_or_default();
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn an_address_without_a_scheme_is_told_what_it_lacks() {
    for (kind, address, expected) in [
        ("http", "example.com", "base_url: \"example.com\" needs https:// or http:// in front, as in https://api.example.com"),
        ("http", "example.com:8080", "base_url: \"example.com:8080\" needs https:// or http:// in front, as in https://api.example.com"),
        ("tcp", "db:5432", "base_url: \"db:5432\" needs tcp:// in front, as in tcp://db.example.com:5432"),
    ] {
        assert_eq!(said(json!({"kind": kind, "base_url": address}))[0], expected);
    }
}

#[test]
fn groups_and_tags_are_short_lines() {
    let long = "گ".repeat(101);
    assert_eq!(said(json!({"group": "گ".repeat(100), "tags": ["گ".repeat(100), "b"]})), Vec::<String>::new());
    assert_eq!(
        said(json!({"group": long, "tags": ["a", long, "b\nc"]})),
        ["group: must be at most 100 characters", "tags[1]: must be at most 100 characters", "tags[2]: must not hold control characters"]
    );
}

#[test]
fn pem_is_read_when_it_is_written_and_a_path_looks_like_one() {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for ca in [certificate.as_str(), "/etc/ssl/own.pem", "./ca", "own.crt", "C:\\ssl\\ca", "/etc/my certificates/ca"] {
        assert_eq!(said(json!({"tls": {"ca": ca}})), Vec::<String>::new(), "{ca}");
    }
    let neither =
        "tls.ca: must be PEM text, beginning with -----BEGIN CERTIFICATE-----, or the path of such a file on the node: /etc/ssl/own.pem";
    for (ca, expected) in [
        ("not pem", neither),
        ("junk", neither),
        ("MIIBkTCB\n+/abc", neither),
        (key.as_str(), "tls.ca: holds no certificate"),
        ("-----BEGIN CERTIFICATE-----", "tls.ca: is not well-formed PEM"),
    ] {
        assert_eq!(said(json!({"tls": {"ca": ca}})), [expected], "{ca}");
    }
    assert!(said(json!({"tls": {"ca": broken}}))[0].starts_with("tls.ca: holds a certificate that cannot be used"));

    assert_eq!(said(json!({"tls": {"client_cert": certificate, "client_key": key}})), Vec::<String>::new());
    let swapped = said(json!({"tls": {"client_cert": key, "client_key": certificate}}));
    assert_eq!(swapped, ["tls.client_cert: holds no certificate", "tls.client_key: holds no private key in PEM form"]);
    let secret = said(json!({"tls": {"client_cert": certificate, "client_key": "s3cret"}}));
    assert!(secret[0].starts_with("tls.client_key: must be PEM text") && !secret[0].contains("s3cret"), "{secret:?}");
}

#[test]
fn a_bad_cron_expression_and_a_bad_time_zone_are_told_together() {
    assert_eq!(
        said(json!({"cron": "61 * * * *", "timezone": "Mars/Olympus"})),
        [
            "cron: \"61 * * * *\" is not a cron expression: a number is not one of its field: minutes 0-59, hours 0-23, days 1-31, months 1-12, weekdays 0-7",
            "timezone: \"Mars/Olympus\" is not a time zone of the IANA database"
        ]
    );
}
