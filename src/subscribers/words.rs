//! News and requests in words: those of the status page, in the language of whoever gets them. Pure.
//!
//! **Invariant.** No title holds a line break or another control character, so none can end a header.

use crate::alert::message::moment;
use crate::alert::message::text::{clean, cut};
use crate::model::subscriber::{Hurt, Matter, News, WindowStep, WindowTime};
use crate::web::moment::span;
use crate::web::status::what;
use crate::web::text::Text;

const LONGEST_TITLE: usize = 160;
/// Services that are told of one by one; the others are counted.
const MOST: usize = 50;
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
        Matter::Outage(hurts) => (outage_title(t, hurts), outage(t, hurts)),
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

/// How to be told no more.
pub fn footer(t: Text, page: &str, status_link: &str, leave_link: &str) -> Vec<String> {
    vec![
        t.one("news.because", page),
        format!("{}: {status_link}", t.s("status.title")),
        format!("{}: {leave_link}", t.s("subscribe.leave")),
    ]
}

fn letter(page: &str, title: String, paragraphs: Vec<Vec<String>>) -> Letter {
    let title = cut(&clean(&format!("[{page}] {title}")), LONGEST_TITLE);
    let paragraphs = paragraphs.into_iter().map(|lines| lines.iter().map(|line| clean(line)).collect()).collect();
    Letter { title, paragraphs }
}

fn outage_title(t: Text, hurts: &[Hurt]) -> String {
    let closed = hurts.iter().filter(|hurt| hurt.closed_at.is_some()).count();
    let worked_on = hurts.iter().any(|hurt| hurt.fresh && hurt.worked_on_at.is_some());
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
