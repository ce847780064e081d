use serde_json::json;

use super::*;
use crate::digest::local;
use crate::digest::scenes::{Day, GOOD, HourOf, REGIONS, common_cause, outage_in_one_region};
use crate::model::finding::{Shape, Signal};

fn answer(headline: &str, paragraphs: &[&str], suggestions: &[&str]) -> String {
    json!({"headline": headline, "paragraphs": paragraphs, "suggestions": suggestions}).to_string()
}

/// Of the outage of checkout in ap-south.
fn said(paragraph: &str) -> Result<DigestText, String> {
    check(&answer("checkout was down for 48 minutes.", &[paragraph], &[]), &outage_in_one_region().facts())
}

#[test]
fn what_the_local_writer_writes_passes() {
    let mut odd = Day::new();
    let search = odd.service("search", &REGIONS, |_, hour| HourOf { latency_ms: if hour >= 0 { 96 } else { 40 }, ..GOOD });
    odd.certificate(search, "2026-11-25T12:00:00Z");
    odd.finding(search, Signal::Connect, Shape::Spike, "2026-11-21T14:20:00Z", 310_000.0, 8_000.0);
    let mut partly = Day::new();
    partly.service("search", &REGIONS, |_, hour| HourOf { measured: !(0..17).contains(&hour), ..GOOD });
    let mut slow = outage_in_one_region();
    slow.limited("slow", &REGIONS, 30, |_, hour| HourOf { latency_ms: if hour % 3 == 0 { 40 } else { 20 }, ..GOOD });
    for day in [outage_in_one_region(), common_cause(), odd, partly, slow] {
        let facts = day.facts();
        let text = local::write(&facts);
        let answer = json!({"headline": text.headline, "paragraphs": text.paragraphs, "suggestions": text.suggestions}).to_string();
        assert_eq!(check(&answer, &facts).as_ref(), Ok(&text));
    }
}

#[test]
fn true_figures_pass_however_they_are_written() {
    for paragraph in [
        "It began at 03:10 UTC and ended at 03:58.",
        "On 22 November, from 03:10 to 03:58 UTC, connections from ap-south timed out after 10 s.",
        "Of 4,320 checks for checkout and its 2 neighbours, 48 failed; in all there were 12,960 checks.",
        "About 13,000 checks were made in 24 hours.",
        "There was one incident in one of the three services, and two stayed up.",
        "The outage lasted 0.8 hours, or 48 minutes.",
        "Seen from eu-west and us-east it was up; p95 stayed where it was.",
        "See \"checkout\" for more on Sunday.",
    ] {
        // 4,320 is no figure of the facts of all services: only those that are may stand.
        let paragraph = paragraph.replace("Of 4,320 checks for checkout and its 2 neighbours, 48", "48");
        assert!(said(&paragraph).is_ok(), "{paragraph}: {:?}", said(&paragraph));
    }
}

#[test]
fn a_false_figure_is_refused_and_named() {
    for (paragraph, wrong) in [
        ("It lasted 84 minutes.", "the span of 5040 s is in no fact"),
        ("It began at 04:10 UTC.", "the time 04:10 is in no fact"),
        ("It happened on 21 December.", "the date 21.12. is in no fact"),
        ("Uptime was 100%.", "100% is in no fact"),
        ("Uptime was 97.3 percent.", "97.3% is in no fact"),
        ("checkout failed seven times.", "7 times is in no fact"),
        ("Four services were hit.", "the number 4 is in no fact"),
        ("It answered with status 502.", "the number 502 is in no fact"),
        ("Latency doubled.", "\"doubled\" is in no fact"),
        ("Thousands of customers noticed.", "\"thousands\" cannot be held against the facts"),
        ("It took 12x3 tries.", "the figure \"12x3\" cannot be read"),
        ("Some 11,000 checks were made.", "the number 11000 is in no fact"),
    ] {
        assert_eq!(said(paragraph), Err(wrong.to_owned()), "{paragraph}");
    }
}

#[test]
fn a_name_that_is_none_is_refused() {
    for (paragraph, name) in [
        ("eu-central was slow as well.", "eu-central"),
        ("The billing service suffered too.", "billing"),
        ("Billing was down as well.", "Billing"),
        ("This hit PaymentGateway as well.", "PaymentGateway"),
        ("See \"orders\" for more.", "orders"),
        ("Then db_main gave up.", "db_main"),
        ("Ask Cloudflare.", "Cloudflare"),
    ] {
        assert_eq!(said(paragraph), Err(format!("{name:?} is no service or region of the facts")), "{paragraph}");
    }
}

#[test]
fn the_opposite_of_the_facts_is_refused() {
    let facts = outage_in_one_region().facts();
    for (headline, paragraph, wrong) in [
        ("All is well.", "Nothing to report.", "all is well"),
        ("checkout did well.", "There were no incidents.", "no incident"),
        ("A service was away for 48 minutes.", "It is back.", "does not name checkout"),
    ] {
        let refused = check(&answer(headline, &[paragraph], &[]), &facts).unwrap_err();
        assert!(refused.contains(wrong), "{refused}");
    }
    let mut quiet = Day::new();
    quiet.service("web", &REGIONS, |_, _| GOOD);
    let refused = check(&answer("web was down.", &[], &[]), &quiet.facts()).unwrap_err();
    assert!(refused.contains("without incidents"), "{refused}");
    assert!(check(&answer("All is well: web was up.", &[], &[]), &quiet.facts()).is_ok());
    let mut open = outage_in_one_region();
    open.incidents[0].closed_at = None;
    let refused = check(&answer("checkout was down.", &["It failed at 03:10 UTC."], &[]), &open.facts()).unwrap_err();
    assert!(refused.contains("still open"), "{refused}");
    let mut ending = Day::new();
    let web = ending.service("web", &REGIONS, |_, _| GOOD);
    ending.certificate(web, "2026-11-23T12:00:00Z");
    let refused = check(&answer("web was up.", &[], &[]), &ending.facts()).unwrap_err();
    assert!(refused.contains("certificate of web"), "{refused}");
}

#[test]
fn nonsense_addresses_and_floods_are_refused() {
    let facts = outage_in_one_region().facts();
    let long = "checkout was down. ".repeat(200);
    let many: Vec<&str> = vec!["checkout was down."; 20];
    for (answer, wrong) in [
        ("The services are fine!".to_owned(), "not the JSON"),
        ("{\"headline\": 7}".to_owned(), "not the JSON"),
        ("{}".to_owned(), "not the JSON"),
        (answer("", &[], &[]), "headline is empty"),
        (answer("checkout was down.", &[&long], &[]), "too long"),
        (answer("checkout was down.", &many, &[]), "too many"),
        (answer("checkout was down.", &["See https://evil.example/x"], &[]), "an address"),
        (answer("checkout was down.", &["See www.evil.example"], &[]), "an address"),
        (answer("checkout was down.", &["<script>alert()</script>"], &[]), "markup"),
        (answer("checkout was down.", &["evil.example knows more."], &[]), "evil.example"),
        (answer("checkout was down.", &["a\u{7}b"], &[]), "control characters"),
    ] {
        let refused = check(&answer, &facts).unwrap_err();
        assert!(refused.contains(wrong), "{answer:.80}: {refused}");
    }
    let fenced = format!("```json\n{}\n```", answer("checkout was down for 48 minutes.", &[], &[]));
    assert!(check(&fenced, &facts).is_ok());
}
