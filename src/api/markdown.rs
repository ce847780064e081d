//! Markdown of people as HTML that is safe to show.
//!
//! What is written is made HTML by one library and cut down to a short list of elements by another, so that neither alone has to be
//! right. HTML in the text is shown as it was typed, pictures become links: nothing is loaded from elsewhere and nothing runs.
//!
//! **Invariant.** What comes out holds no script, style, handler of events or form, and links lead to http, https, mailto or a path of
//! this hub alone.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};
use regex::Regex;

use crate::model::time::Timestamp;
use crate::web::moment::Moment;

static INSTANT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z").expect("the pattern is well formed"));
/// Deeper than anyone writes; whatever is nested deeper is shown as it was typed.
const DEEPEST: usize = 40;

const TAGS: [&str; 26] = [
    "a",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "time",
    "tr",
    "ul",
];

pub fn render(markdown: &str) -> String {
    let Some(events) = events(markdown) else { return typed(markdown) };
    let mut made = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut made, events.into_iter());
    Builder::empty()
        .tags(HashSet::from(TAGS))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title"])),
            ("ol", HashSet::from(["start"])),
            ("time", HashSet::from(["datetime", "data-time", "title"])),
        ]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(UrlRelative::Custom(Box::new(own_path)))
        .link_rel(Some("noopener nofollow"))
        .clean(&made)
        .to_string()
}

/// `None`: it is nested too deeply.
fn events(markdown: &str) -> Option<Vec<Event<'_>>> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut depth = 0usize;
    let mut is_code = false;
    let mut events = Vec::new();
    for event in Parser::new_ext(markdown, options) {
        match &event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return None;
        }
        match &event {
            Event::Start(Tag::CodeBlock(_)) => is_code = true,
            Event::End(TagEnd::CodeBlock) => is_code = false,
            Event::Text(text) if !is_code => {
                events.extend(with_moments(text));
                continue;
            }
            _ => {}
        }
        events.push(match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => Event::Start(Tag::Link { link_type, dest_url, title, id }),
            Event::End(TagEnd::Image) => Event::End(TagEnd::Link),
            Event::TaskListMarker(done) => Event::Text(if done { "☑ " } else { "☐ " }.into()),
            other => other,
        });
    }
    Some(events)
}

/// A text, and the instants in it as people read them.
fn with_moments<'a>(text: &str) -> Vec<Event<'a>> {
    let plain = |text: &str| Event::Text(text.to_owned().into());
    let mut made = Vec::new();
    let mut rest = text;
    for found in INSTANT.find_iter(text) {
        let Some(at) = Timestamp::parse(found.as_str()) else { continue };
        let begins = text.len() - rest.len();
        made.push(plain(&text[begins..found.start()]));
        made.push(Event::InlineHtml(Moment::full(at).to_string().into()));
        rest = &text[found.end()..];
    }
    made.push(plain(rest));
    made
}

/// A path of this hub, or a place on the same page; `//host` leads elsewhere.
fn own_path(url: &str) -> Option<Cow<'_, str>> {
    let own = url.starts_with('#') || url.starts_with('/') && !url.starts_with("//") && !url.contains('\\');
    own.then_some(Cow::Borrowed(url))
}

fn typed(text: &str) -> String {
    format!("<pre>{}</pre>", ammonia::clean_text(text))
}

/// A text that is no Markdown, so written that Markdown shows it as it is.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\n' | '\r' | '\t' => out.push(' '),
            letter if letter.is_ascii_punctuation() => out.extend(['\\', letter]),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn instants_are_read_in_the_viewers_zone_and_code_stays_as_it_is() {
        let made = render("| since | 2026-11-22T19:59:37.952Z |\n|---|---|\n\nat 2026-11-22T20:00:00Z; `2026-11-22T20:00:00Z`");
        assert!(made.contains("<time datetime=\"2026-11-22T19:59:37.952Z\""), "{made}");
        assert!(
            made.contains("data-time=\"full\"") && made.contains(">2026-11-22 20:00 UTC</time>; <code>2026-11-22T20:00:00Z</code>"),
            "{made}"
        );
        assert_eq!(render("at 2026-99-22T20:00:00Z"), "<p>at 2026-99-22T20:00:00Z</p>\n");
    }

    #[test]
    fn what_people_use_is_shown() {
        let text = "# Title\n\n**bold** _em_ ~~gone~~ `x < y`\n\n- [x] done\n- [ ] to do\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\nlet a = 1 < 2;\n```\n";
        insta::assert_snapshot!(render(text), @r"
        <h1>Title</h1>
        <p><strong>bold</strong> <em>em</em> <del>gone</del> <code>x &lt; y</code></p>
        <ul>
        <li>☑ done</li>
        <li>☐ to do</li>
        </ul>
        <table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>
        <tr><td>1</td><td>2</td></tr>
        </tbody></table>
        <pre><code>let a = 1 &lt; 2;
        </code></pre>
        ");
    }

    #[test]
    fn nothing_that_runs_or_loads_comes_through() {
        let attacks = [
            "<script>alert(1)</script>",
            "text <script src=//evil.example/x.js></script> more",
            "<img src=x onerror=alert(1)>",
            "<a href=\"javascript:alert(1)\" onclick=\"alert(1)\">x</a>",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](java\nscript:alert(1))",
            "[x](&#106;avascript:alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "[x](vbscript:msgbox(1))",
            "![x](data:image/svg+xml;base64,PHN2Zz4=)",
            "![x](http://evil.example/pixel.png)",
            "<javascript:alert(1)>",
            "[x][1]\n\n[1]: javascript:alert(1)",
            "<style>body{display:none}</style>",
            "<iframe src=\"http://evil.example\"></iframe>",
            "<svg/onload=alert(1)>",
            "<form action=/api/v1/users><input name=x></form>",
            "<p style=\"position:fixed\">x</p>",
            "```<script>\nx\n```",
            "| <b onmouseover=alert(1)>x</b> |\n|---|\n| <script>1</script> |",
        ];
        for attack in attacks {
            let shown = render(attack);
            // Whatever is left of an element must be text; attributes are those of links alone.
            let mut rest = shown.as_str();
            while let Some(at) = rest.find('<') {
                let element = rest[at..].split('>').next().unwrap_or_default().to_owned();
                let name: String = element.trim_start_matches(['<', '/']).chars().take_while(char::is_ascii_alphanumeric).collect();
                assert!(TAGS.contains(&name.as_str()), "{attack}: {shown}");
                let lower = element.to_lowercase();
                let link = lower.starts_with("<a ");
                assert!(link || !lower.contains('='), "{attack}: {shown}");
                for word in ["javascript:", "data:", "vbscript:", "onerror", "onclick", "style="] {
                    assert!(!lower.contains(word), "{attack}: {shown}");
                }
                rest = &rest[at + 1..];
            }
        }
    }

    #[test]
    fn html_is_shown_as_it_was_typed() {
        assert_eq!(render("a <b onclick=x>b</b>"), "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>\n");
        assert!(render("<script>alert(1)</script>").contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    }

    #[test]
    fn links_lead_out_without_a_way_back_and_pictures_are_links() {
        let rel = "rel=\"noopener nofollow\"";
        assert_eq!(render("[x](https://example.com)"), format!("<p><a href=\"https://example.com\" {rel}>x</a></p>\n"));
        assert_eq!(render("[x](/incidents/1)"), format!("<p><a href=\"/incidents/1\" {rel}>x</a></p>\n"));
        assert_eq!(render("![x](https://example.com/a.png)"), format!("<p><a href=\"https://example.com/a.png\" {rel}>x</a></p>\n"));
        for elsewhere in ["[x](//evil.example)", "[x](evil)"] {
            assert_eq!(render(elsewhere), format!("<p><a {rel}>x</a></p>\n"), "{elsewhere}");
        }
    }

    #[test]
    fn what_is_plain_stays_plain() {
        let text = "*a* <b> [x](http://y) `c` # d\n- e @f |g| &amp; \\";
        let shown = render(&plain(text));
        assert_eq!(shown, "<p>*a* &lt;b&gt; [x](http://y) `c` # d - e @f |g| &amp;amp; \\</p>\n");
    }

    #[test]
    fn a_text_made_to_be_slow_is_not() {
        let clock = Clock::real();
        for text in
            [">".repeat(60_000), "- ".repeat(30_000), "[".repeat(60_000), "*a ".repeat(20_000), "`".repeat(60_000), "<".repeat(60_000)]
        {
            let began = clock.steady();
            let shown = render(&text);
            assert!(!shown.is_empty());
            assert!(clock.steady() - began < Duration::from_secs(10), "{}…", &text[..4]);
        }
    }
}
