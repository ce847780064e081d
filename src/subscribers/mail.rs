//! A letter as a mail: plain and HTML, with what lets a mail client unsubscribe by one click (RFC 2369, RFC 8058).

use std::fmt::Write;

use crate::alert::message::text::html;
use crate::subscribers::words::Letter;
use crate::web::text::Lang;

/// The plain half.
pub fn plain(letter: &Letter, footer: &[String]) -> String {
    let mut out = String::new();
    for paragraph in &letter.paragraphs {
        let _ = write!(out, "{}\n\n", paragraph.join("\n"));
    }
    // The mark of a signature, below which clients quote nothing.
    if !footer.is_empty() {
        let _ = writeln!(out, "-- \n{}", footer.join("\n"));
    }
    out
}

/// The other half: styles inline, no image, nothing asked of other hosts.
pub fn page(letter: &Letter, footer: &[String], lang: Lang) -> String {
    let mut body = String::new();
    for paragraph in &letter.paragraphs {
        let lines: Vec<String> = paragraph.iter().map(|line| linked(line)).collect();
        let _ = writeln!(body, "<p dir=\"auto\" style=\"margin:0 0 14px 0\">{}</p>", lines.join("<br>"));
    }
    let small: Vec<String> = footer.iter().map(|line| linked(line)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\" dir=\"{dir}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light\"><title>{title}</title></head>\n\
         <body style=\"margin:0;padding:16px;background:#f4f5f7;color:#1f2328;font:15px/1.5 -apple-system,'Segoe UI',Roboto,Arial,sans-serif\">\n\
         <div style=\"max-width:640px;margin:0 auto;background:#ffffff;padding:20px 24px\">\n\
         <h1 dir=\"auto\" style=\"margin:0 0 16px 0;font-size:19px;line-height:1.3;word-break:break-word\">{title}</h1>\n{body}\
         <p style=\"margin:16px 0 0 0;color:#59636e;font-size:13px;word-break:break-word\">{small}</p>\n</div></body></html>\n",
        lang = lang.name(),
        dir = lang.direction(),
        title = html(&letter.title),
        small = small.join("<br>"),
    )
}

/// A line, with what leads to a page at its end made a link.
fn linked(line: &str) -> String {
    let place = line.rfind("https://").or_else(|| line.rfind("http://"));
    match place.filter(|place| !line[*place..].contains(' ')) {
        Some(place) => {
            let (before, url) = line.split_at(place);
            format!("{0}<a href=\"{1}\">{1}</a>", html(before), html(url))
        }
        None => html(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup_and_a_link_is_one() {
        let letter = Letter {
            title: "[Page] <b>shop</b>".to_owned(),
            paragraphs: vec![vec!["<i>shop</i>: down".to_owned(), "https://hub.example/status?a=\"b\"".to_owned()]],
        };
        let page = page(&letter, &["Stop: https://hub.example/x".to_owned()], Lang::Persian);
        assert!(!page.contains("<b>shop") && !page.contains("<i>shop"), "{page}");
        assert!(page.contains("dir=\"rtl\"") && page.contains("<a href=\"https://hub.example/x\">https://hub.example/x</a>"), "{page}");
        assert!(page.contains("&quot;b&quot;") || page.contains("&#34;b&#34;"), "{page}");
        assert_eq!(plain(&letter, &["Stop".to_owned()]), "<i>shop</i>: down\nhttps://hub.example/status?a=\"b\"\n\n-- \nStop\n");
    }
}
