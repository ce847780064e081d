//! A message as HTML: a whole page for mail, the few tags chat rooms take, and the fewer ones Telegram takes.

use std::fmt::Write as _;

use crate::alert::message::text::{cut, html, units};
use crate::alert::message::{Part, Parts};

/// A page for a mail client: styles inline, no image, nothing asked of other hosts.
pub fn page(parts: &Parts) -> String {
    let mut rows = String::new();
    for part in &parts.parts {
        match part {
            Part::Fact { label, text } => row(&mut rows, label, &html(text)),
            Part::Regions { lines, more } => {
                let mut cell = String::from("<table cellpadding=\"0\" cellspacing=\"0\" style=\"border-collapse:collapse\">");
                for line in lines {
                    let colour = match line.status.as_str() {
                        "up" => "#2e7d32",
                        "down" => "#c62828",
                        _ => "#59636e",
                    };
                    let _ = write!(
                        cell,
                        "<tr><td style=\"padding:0 12px 4px 0;white-space:nowrap;vertical-align:top\">{}</td>\
                         <td style=\"padding:0 12px 4px 0;white-space:nowrap;vertical-align:top;color:{colour}\"><b>{}</b></td>\
                         <td style=\"padding:0 0 4px 0;vertical-align:top;word-break:break-word\">{}</td></tr>",
                        html(&line.region),
                        html(&line.status),
                        html(&line.text)
                    );
                }
                cell.push_str("</table>");
                if *more > 0 {
                    let _ = write!(cell, "and {more} more regions");
                }
                // Over the whole width: a telephone has little of it.
                let _ = writeln!(
                    rows,
                    "<tr><td colspan=\"2\" style=\"padding:0 0 10px 0\"><span style=\"color:#59636e\">Seen from</span>{cell}</td></tr>"
                );
            }
            Part::Link { url } => row(&mut rows, "Look at", &link(url)),
        }
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light\"><title>{title}</title></head>\n\
         <body style=\"margin:0;padding:16px;background:#f4f5f7;color:#1f2328;font:15px/1.45 -apple-system,'Segoe UI',Roboto,Arial,sans-serif\">\n\
         <div style=\"max-width:680px;margin:0 auto;background:#ffffff;border-top:6px solid #{colour:06x};padding:20px 24px\">\n\
         <h1 style=\"margin:0 0 16px 0;font-size:19px;line-height:1.3;word-break:break-word\">{title}</h1>\n\
         <table cellpadding=\"0\" cellspacing=\"0\" style=\"border-collapse:collapse;width:100%\">\n{rows}</table>\n\
         <p style=\"margin:16px 0 0 0;color:#59636e;font-size:13px\">{footer}</p>\n</div></body></html>\n",
        title = html(&parts.first_line),
        colour = parts.mood.colour(),
        footer = html(&parts.footer),
    )
}

fn row(rows: &mut String, label: &str, cell: &str) {
    let _ = writeln!(
        rows,
        "<tr><td style=\"padding:0 16px 10px 0;color:#59636e;white-space:nowrap;vertical-align:top\">{}</td>\
         <td style=\"padding:0 0 10px 0;vertical-align:top;word-break:break-word\">{cell}</td></tr>",
        html(label)
    );
}

/// Only what leads to a page is made a link.
fn link(url: &str) -> String {
    match url.starts_with("https://") || url.starts_with("http://") {
        true => format!("<a href=\"{0}\">{0}</a>", html(url)),
        false => html(url),
    }
}

/// The tags every Matrix client shows (<https://spec.matrix.org/v1.11/client-server-api/#mroommessage-msgtypes>).
pub fn room(parts: &Parts) -> String {
    let mut out = format!("<p><strong>{}</strong></p>", html(&parts.first_line));
    for part in &parts.parts {
        let _ = match part {
            Part::Fact { label, text } => write!(out, "<p>{}: {}</p>", html(label), html(text)),
            Part::Regions { lines, more } => {
                out.push_str("<ul>");
                for line in lines {
                    let _ = write!(out, "<li>{} <strong>{}</strong>: {}</li>", html(&line.region), html(&line.status), html(&line.text));
                }
                if *more > 0 {
                    let _ = write!(out, "<li>and {more} more regions</li>");
                }
                write!(out, "</ul>")
            }
            Part::Link { url } => write!(out, "<p>{}</p>", link(url)),
        };
    }
    let _ = write!(out, "<p><em>{}</em></p>", html(&parts.footer));
    out
}

/// What Telegram's HTML mode takes: bold, italic, code and links, lines for all else. The limit counts what is shown, not
/// the tags (<https://core.telegram.org/bots/api#sendmessage>), so parts that would go beyond it are left out whole.
pub fn telegram(parts: &Parts, most: usize) -> String {
    let mut lines = vec![(format!("<b>{}</b>", html(&parts.first_line)), units(&parts.first_line) + 2)];
    let mut add = |label: &str, text: &str| {
        lines.push((format!("<b>{}:</b> {}", html(label), html(text)), units(label) + units(text) + 3));
    };
    for part in &parts.parts {
        match part {
            Part::Fact { label, text } => add(label, text),
            Part::Regions { lines: regions, more } => {
                for line in regions {
                    add(&line.region, &format!("{}: {}", line.status, line.text));
                }
                if *more > 0 {
                    add("And", &format!("{more} more regions"));
                }
            }
            Part::Link { url } => add("Look at", url),
        }
    }
    let footer = cut(&parts.footer, 200);
    lines.push((format!("<i>{}</i>", html(&footer)), units(&footer) + 1));
    let mut out: Vec<String> = Vec::new();
    // Room for saying that something was left out.
    let (mut left, mut dropped) = (most.saturating_sub(20), false);
    for (line, units) in lines {
        if units <= left {
            left -= units;
            out.push(line);
        } else {
            dropped = true;
        }
    }
    if dropped {
        out.push("… (cut)".to_owned());
    }
    out.join("\n")
}
