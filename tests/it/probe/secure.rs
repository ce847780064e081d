//! Certificates: those that are accepted, those that are not and why, and those a client shows.

use probemesh::model::check::{Phase, Reason, TlsVersion};
use rustls::ServerConfig;
use serde_json::json;

use super::*;
use crate::target::{Authority, Reply, Target, self_signed, self_signed_authority};

async fn against(server: ServerConfig, tls: Value) -> CheckResult {
    let target = Target::tls(server, |_| Reply::text(200, "ok")).await;
    check(json!({"base_url": target.url("https", "web.test"), "tls": tls})).await
}

#[tokio::test]
async fn a_good_certificate_is_recorded() {
    let authority = Authority::new();
    let result = against(authority.server("web.test", 2090), json!({"ca": authority.pem})).await;
    assert_eq!(result.failure, None);
    assert_eq!(result.tls_version, Some(TlsVersion::Tls13));
    let certificate = result.certificate.expect("it was shown");
    assert!(certificate.subject.contains("CN=web.test"), "{}", certificate.subject);
    assert!(certificate.issuer.contains("CN=Test Authority"), "{}", certificate.issuer);
    assert_eq!(certificate.not_after.rfc3339(), "2090-01-01T00:00:00.000Z");
    assert_eq!(certificate.fingerprint.len(), 64);
}

#[tokio::test]
async fn the_same_certificate_is_kept_once() {
    let authority = Authority::new();
    let target = Target::tls(authority.server("web.test", 2090), |_| Reply::text(200, "ok")).await;
    let probes = probes();
    let service = service(json!({"base_url": target.url("https", "web.test"), "tls": {"ca": authority.pem}}));
    let one = probes.check(&service, order()).await.certificate.expect("it was shown");
    let other = probes.check(&service, order()).await.certificate.expect("it was shown");
    assert!(Arc::ptr_eq(&one, &other));
}

#[tokio::test]
async fn an_old_server_speaks_tls_1_2() {
    use rustls::pki_types::pem::PemObject;
    let authority = Authority::new();
    let (certificate, key) = authority.issue("web.test", 2090);
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("the version")
        .with_no_client_auth()
        .with_single_cert(
            vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")],
            rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
        )
        .expect("the key fits");
    let result = against(server, json!({"ca": authority.pem})).await;
    assert_eq!((result.failure, result.tls_version), (None, Some(TlsVersion::Tls12)));
    assert!(result.phases.tls.is_some());
}

#[tokio::test]
async fn a_bad_certificate_is_refused_in_words_and_still_recorded() {
    let authority = Authority::new();
    let trusted = json!({"ca": authority.pem});
    let cases = [
        (authority.server("web.test", 2021), trusted.clone(), "the certificate expired: CN=web.test was valid until 2021-01-01"),
        (
            authority.server("other.test", 2090),
            trusted.clone(),
            "wrong name: the certificate is not valid for web.test, only for other.test",
        ),
        (
            authority.server("web.test", 2090),
            json!({}),
            "unknown issuer: the certificate was issued by CN=Test Authority, which is not trusted",
        ),
        (self_signed("web.test"), trusted, "unknown issuer: the certificate is self-signed (CN=rcgen self signed cert)"),
    ];
    for (server, tls, words) in cases {
        let result = against(server, tls).await;
        let failure = result.failure.clone().expect("it is refused");
        assert_eq!((failure.reason, failure.phase), (Reason::Certificate, Phase::Tls), "{failure:?}");
        assert_eq!(failure.message.replace("CN=rcgen self signed cert, ", ""), words);
        assert!(result.certificate.is_some() && result.phases.first_byte.is_none());
        assert_eq!(result.evidence.expect("it failed").chain.len(), 1);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_where_it_is_named_itself() {
    let (server, pem) = self_signed_authority("web.test");
    assert_eq!(against(server, json!({"ca": pem})).await.failure, None);
    let (server, _) = self_signed_authority("web.test");
    let refused = against(server, json!({"ca": pem})).await.failure.expect("another of the same name is refused");
    assert_eq!(refused.reason, Reason::Certificate);
    let (server, pem) = self_signed_authority("other.test");
    let refused = against(server, json!({"ca": pem})).await.failure.expect("the name must hold");
    assert!(refused.message.starts_with("wrong name"), "{refused:?}");
}

#[tokio::test]
async fn verification_can_be_skipped() {
    let result = against(self_signed("other.test"), json!({"insecure_skip_verify": true})).await;
    assert_eq!(result.failure, None);
    assert!(result.certificate.is_some());
}

#[tokio::test]
async fn a_verified_chain_is_not_taken_for_another_name() {
    let authority = Authority::new();
    let target = Target::tls(authority.server("web.test", 2090), |_| Reply::text(200, "ok")).await;
    let hosts = Hosts::default().with("web.test", &["127.0.0.1"], Duration::ZERO).with("else.test", &["127.0.0.1"], Duration::ZERO);
    let probes = probes_with(hosts);
    let run = async |host: &str| {
        let service = service(json!({"base_url": target.url("https", host), "tls": {"ca": authority.pem}}));
        reason(&probes.check(&service, order()).await)
    };
    assert_eq!([run("web.test").await, run("else.test").await, run("web.test").await], [None, Some(Reason::Certificate), None]);
}

#[tokio::test]
async fn a_server_can_be_asked_for_by_another_name() {
    let authority = Authority::new();
    let target = Target::tls(authority.server("inner.test", 2090), |_| Reply::text(200, "ok")).await;
    for host in ["web.test", "127.0.0.1"] {
        let url = target.url("https", host);
        let result = check(json!({"base_url": url, "tls": {"ca": authority.pem, "server_name": "inner.test"}})).await;
        assert_eq!(result.failure, None, "{host}");
        let asked = target.asked().pop().expect("it was asked");
        assert_eq!(asked.header("host"), Some(format!("{host}:{}", target.address.port()).as_str()));
    }
    let refused = check(json!({"base_url": target.url("https", "web.test"), "tls": {"ca": authority.pem, "server_name": "no.test"}})).await;
    assert_eq!(reason(&refused), Some(Reason::Certificate));
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_demanded() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("client.test", 2090);
    let target = Target::tls(authority.demanding_server("web.test"), |_| Reply::text(200, "ok")).await;
    let url = target.url("https", "web.test");
    let shown = check(json!({"base_url": url, "tls": {"ca": authority.pem, "client_cert": certificate, "client_key": key}})).await;
    assert_eq!(shown.failure, None);

    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).expect("it can be written");
        path.to_str().expect("plain text").to_owned()
    };
    let tls = json!({"ca": path("ca", &authority.pem), "client_cert": path("cert", &certificate), "client_key": path("key", &key)});
    assert_eq!(check(json!({"base_url": url, "tls": tls})).await.failure, None);

    let without = check(json!({"base_url": url, "tls": {"ca": authority.pem}})).await;
    let failure = without.failure.expect("it is refused");
    assert_eq!(
        (failure.reason, failure.phase, failure.message.as_str()),
        (Reason::Tls, Phase::Tls, "the server asks for a client certificate")
    );

    let stranger = rcgen::generate_simple_self_signed(vec!["client.test".to_owned()]).expect("a certificate");
    let tls = json!({"ca": authority.pem, "client_cert": stranger.cert.pem(), "client_key": stranger.signing_key.serialize_pem()});
    let refused = check(json!({"base_url": url, "tls": tls})).await;
    assert_eq!(reason(&refused), Some(Reason::Tls));
    assert!(message(&refused).starts_with("the server refuses the client certificate"), "{}", message(&refused));
}

#[tokio::test]
async fn tls_options_that_cannot_be_used_are_a_failure_that_says_which() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue("client.test", 2090);
    let (_, other_key) = authority.issue("client.test", 2090);
    let cases = [
        (json!({"ca": "/nowhere/ca.pem"}), "tls.ca: cannot read the file \"/nowhere/ca.pem\": No such file or directory (os error 2)"),
        (json!({"ca": other_key}), "tls.ca holds no certificate"),
        (json!({"client_cert": certificate, "client_key": certificate}), "tls.client_key holds no private key in PEM form"),
        (
            json!({"client_cert": certificate, "client_key": other_key}),
            "tls.client_cert and tls.client_key cannot be used together: keys may not be consistent: KeyMismatch",
        ),
    ];
    for (tls, words) in cases {
        let result = check(json!({"base_url": "https://web.test", "tls": tls})).await;
        assert_eq!((reason(&result), message(&result)), (Some(Reason::Internal), words));
    }
}

#[tokio::test]
async fn a_certificate_near_its_end_misses_its_days() {
    let authority = Authority::new();
    let target = Target::tls(authority.server("web.test", 2090), |_| Reply::text(200, "ok")).await;
    let url = target.url("https", "web.test");
    let kept = check(json!({"base_url": url, "tls": {"ca": authority.pem}, "expect": {"certificate_days": 30}})).await;
    assert_eq!(kept.failure, None);
    let missed = check(json!({"base_url": url, "tls": {"ca": authority.pem}, "expect": {"certificate_days": 100_000}})).await;
    assert_eq!(reason(&missed), Some(Reason::Certificate));
    let days = missed.certificate.as_ref().expect("it was shown").days_left(missed.started_at);
    assert_eq!(message(&missed), format!("expected a certificate valid for 100000 days, but CN=web.test ends in {days} days"));
}
