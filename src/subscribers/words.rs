//! News and requests in words: those of the status page, in the language of whoever gets them. Pure.
//!
//! **Invariant.** No title holds a line break or another control character, so none can end a header.

use std::time::Duration;

use crate::alert::message::moment;
use crate::alert::message::text::{clean, cut};
use crate::model::subscriber::{Hurt, Matter, News, WindowStep, WindowTime};
use crate::model::time::Timestamp;
use crate::web::moment::span;
use crate::web::status::what;
use crate::web::text::Text;

const LONGEST_TITLE: usize = 160;
/// Services that are told of one by one; the others are counted.
const MOST: usize = 50;
/// That one is worked on is the news for so long.
const LATELY: Duration = Duration::from_secs(300);
/// Services named in a title.
const NAMED: usize = 3;

/// A text before it takes the form of any medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub title: String,
    /// Line by line.
    pub paragraphs: Vec<Vec<String>>,
}

/// News as they are told; the title begins with the name of the page.
pub fn of_news(t: Text, page: &str, news: &News) -> Letter {
    let (title, paragraphs) = match &news.matter {
        Matter::Outage(hurts) => (outage_title(t, hurts, news.at), outage(t, hurts)),
        Matter::Maintenance(time) => (window_title(t, time), window(t, time)),
    };
    letter(page, title, paragraphs)
}

/// What asks whether a request was meant.
pub fn of_request(t: Text, page: &str, link: &str, hours: u64) -> Letter {
    let paragraphs = vec![
        vec![t.one("subscribe.mail_why", page)],
        vec![t.s("subscribe.mail_do").to_owned(), link.to_owned()],
        vec![t.one("subscribe.mail_else", hours)],
    ];
    letter(page, t.s("subscribe.mail_title").to_owned(), paragraphs)
}

/// Why they are told, and how to be told no more. Who was only asked has not subscribed: `leave_link` is `None`.
pub fn footer(t: Text, page: &str, status_link: &str, leave_link: Option<&str>) -> Vec<String> {
    let status = format!("{}: {status_link}", t.s("status.title"));
    match leave_link {
        Some(leave_link) => vec![t.one("news.because", page), status, format!("{}: {leave_link}", t.s("subscribe.leave"))],
        None => vec![status],
    }
}

fn letter(page: &str, title: String, paragraphs: Vec<Vec<String>>) -> Letter {
    let title = cut(&clean(&format!("[{page}] {title}")), LONGEST_TITLE);
    let paragraphs = paragraphs.into_iter().map(|lines| lines.iter().map(|line| clean(line)).collect()).collect();
    Letter { title, paragraphs }
}

fn outage_title(t: Text, hurts: &[Hurt], now: Timestamp) -> String {
    let closed = hurts.iter().filter(|hurt| hurt.closed_at.is_some()).count();
    // What was taken on long ago is news for another reason.
    let lately = |hurt: &Hurt| hurt.worked_on_at.is_some_and(|at| now.since(at) < LATELY);
    let worked_on = hurts.iter().any(|hurt| hurt.fresh && lately(hurt));
    let names: Vec<&str> = hurts.iter().map(|hurt| hurt.name.as_str()).take(NAMED).collect();
    let more = if hurts.len() > NAMED { ", …" } else { "" };
    let who = format!("{}{more}", names.join(", "));
    let state = match hurts {
        [one] if one.closed_at.is_none() && !worked_on => what(t, one.severity, &one.reasons),
        _ if closed == hurts.len() => t.s("status.resolved").to_owned(),
        _ if closed > 0 => t.with("news.some_resolved", &[("up", &closed.to_string()), ("count", &hurts.len().to_string())]),
        _ if worked_on => t.s("status.worked_on").to_owned(),
        _ => t.one("news.fail", hurts.len()),
    };
    format!("{who}: {state}")
}

fn outage(t: Text, hurts: &[Hurt]) -> Vec<Vec<String>> {
    let mut paragraphs: Vec<Vec<String>> = hurts.iter().take(MOST).map(|hurt| hurt_lines(t, hurt)).collect();
    if hurts.len() > MOST {
        paragraphs.push(vec![t.one("news.more", hurts.len() - MOST)]);
    }
    paragraphs
}

fn hurt_lines(t: Text, hurt: &Hurt) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", hurt.name, what(t, hurt.severity, &hurt.reasons))];
    lines.push(format!("{}: {}", t.s("status.opened"), moment(hurt.opened_at)));
    lines.extend(hurt.worked_on_at.map(|at| format!("{}: {}", t.s("status.worked_on"), moment(at))));
    lines.extend(hurt.closed_at.map(|at| {
        let lasted = t.one("service.lasted", span(t, at.since(hurt.opened_at)));
        format!("{}: {} ({lasted})", t.s("status.resolved"), moment(at))
    }));
    if hurt.before > 0 {
        lines.push(t.one("news.again", hurt.before + 1));
    }
    lines
}

fn window_title(t: Text, time: &WindowTime) -> String {
    let state = match time.step {
        WindowStep::Announced => t.s("status.planned_windows"),
        WindowStep::Begun => t.s("news.window_begun"),
        WindowStep::Changed => t.s("news.window_changed"),
        WindowStep::Ended => t.s("news.window_ended"),
        WindowStep::Cancelled => t.s("news.window_cancelled"),
    };
    format!("{state}: {}", time.title)
}

fn window(t: Text, time: &WindowTime) -> Vec<Vec<String>> {
    let names: Vec<&str> = time.services.iter().map(|(_, name)| name.as_str()).take(MOST).collect();
    let mut services = vec![names.join(t.s("sentence.comma"))];
    if time.services.len() > MOST {
        services.push(t.one("news.more", time.services.len() - MOST));
    }
    vec![vec![format!("{} – {}", moment(time.from), moment(time.until))], services]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::Reason;
    use crate::model::id::ServiceId;
    use crate::model::incident::{IncidentId, Severity};
    use crate::model::window::WindowId;
    use crate::web::text::Lang;

    const OPENED: Timestamp = Timestamp(1_795_341_600_000_000);

    fn hurt(name: &str, closed: Option<i64>) -> Hurt {
        Hurt {
            service: ServiceId(1),
            name: name.to_owned(),
            incident: IncidentId("a".into()),
            severity: Severity::Critical,
            reasons: vec![Reason::Dns, Reason::Tls],
            opened_at: OPENED,
            worked_on_at: None,
            closed_at: closed.map(|seconds| Timestamp(OPENED.0 + seconds * 1_000_000)),
            before: 0,
            fresh: true,
        }
    }

    fn title(hurts: Vec<Hurt>) -> String {
        let news = News { subject: "s".to_owned(), number: 0, at: OPENED, matter: Matter::Outage(hurts), passed_on: false };
        of_news(Text(Lang::English), "Acme", &news).title
    }

    #[test]
    fn the_title_alone_says_what_is_the_matter() {
        let many = |closed: &[Option<i64>]| closed.iter().zip(["a", "b", "c", "d"]).map(|(closed, name)| hurt(name, *closed)).collect();
        assert_eq!(title(vec![hurt("shop", None)]), "[Acme] shop: Down: DNS, TLS");
        assert_eq!(title(vec![hurt("shop", Some(90))]), "[Acme] shop: Resolved");
        assert_eq!(title(vec![Hurt { worked_on_at: Some(OPENED), ..hurt("shop", None) }]), "[Acme] shop: Being worked on");
        let long_ago = Some(Timestamp(OPENED.0 - 300_000_000));
        assert_eq!(title(vec![Hurt { worked_on_at: long_ago, ..hurt("shop", None) }]), "[Acme] shop: Down: DNS, TLS");
        assert_eq!(title(many(&[None, None, None, None])), "[Acme] a, b, c, …: 4 services fail");
        assert_eq!(title(many(&[None, Some(1)])), "[Acme] a, b: 1 of 2 resolved");
        assert_eq!(title(many(&[Some(2), Some(1)])), "[Acme] a, b: Resolved");
        let evil = title(vec![hurt("shop\r\nBcc: eve@example.com", None)]);
        assert!(!evil.contains(['\r', '\n']), "{evil}");
    }

    #[test]
    fn what_is_told_is_told_in_both_languages() {
        let again = Hurt { before: 2, ..hurt("shop", Some(90)) };
        let time = WindowTime {
            window: WindowId(1),
            title: "Database moves".to_owned(),
            from: OPENED,
            until: Timestamp(OPENED.0 + 3_600_000_000),
            step: WindowStep::Announced,
            services: vec![(ServiceId(1), "shop".to_owned())],
        };
        for lang in Lang::ALL {
            let t = Text(lang);
            for matter in [Matter::Outage(vec![again.clone()]), Matter::Maintenance(time.clone())] {
                let news = News { subject: "s".to_owned(), number: 0, at: OPENED, matter, passed_on: false };
                let text = of_news(t, "Acme", &news).paragraphs.concat().join("\n");
                assert!(text.contains("shop") && text.contains("2026-11-22 10:00:00 UTC"), "{text}");
                assert_eq!(text.contains('ا'), lang == Lang::Persian && matches!(news.matter, Matter::Outage(_)), "{text}");
            }
            let request = of_request(t, "Acme", "https://hub.example/status/confirm/x", 24).paragraphs.concat().join("\n");
            assert!(
                request.contains("https://hub.example/status/confirm/x") && request.contains("Acme") && request.contains("24"),
                "{request}"
            );
        }
        let english = of_news(
            Text(Lang::English),
            "Acme",
            &News { subject: "s".to_owned(), number: 0, at: OPENED, matter: Matter::Outage(vec![again]), passed_on: false },
        );
        assert_eq!(
            english.paragraphs,
            [[
                "shop: Down: DNS, TLS",
                "Opened: 2026-11-22 10:00:00 UTC",
                "Resolved: 2026-11-22 10:01:30 UTC (lasted 1 min)",
                "It fails for the 3. time within an hour.",
            ]]
        );
    }
}
