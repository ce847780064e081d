//! Texts of others made safe for a medium: cleaned, escaped, cut.

/// In one line: control characters and those that turn the direction of writing become blanks.
pub fn clean(text: &str) -> String {
    let unfit =
        |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text: String = text.chars().map(|letter| if unfit(letter) { ' ' } else { letter }).collect();
    text.trim().to_owned()
}

const CUT: &str = " … (cut)";

/// At most `most` units of UTF-16, which is what the strictest of the media count; what is cut says so.
pub fn cut(text: &str, most: usize) -> String {
    if units(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(units(CUT));
    let mut used = 0;
    let kept: String = text
        .chars()
        .take_while(|letter| {
            used += letter.len_utf16();
            used <= room
        })
        .collect();
    format!("{}{CUT}", kept.trim_end())
}

/// Escaped, and at most `most` units with its escapes; the cut is never inside one.
pub fn fitted(text: &str, most: usize, escape: fn(&str) -> String) -> String {
    let mut room = most;
    loop {
        let escaped = escape(&cut(text, room));
        if units(&escaped) <= most || room == 0 {
            return escaped;
        }
        room = room * 9 / 10;
    }
}

/// The length as most media count it.
pub fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// For HTML and XML, as text and inside a quoted attribute.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// For Slack: three characters have a meaning everywhere (<https://docs.slack.dev/messaging/formatting-message-text>).
pub fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// For Discord's Markdown: a backslash before everything that has a meaning in it.
pub fn discord(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '[' | ']' | '#' | '<' | '@') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so_and_keeps_within_the_limit() {
        assert_eq!(cut("short", 5), "short");
        let long = cut(&"x".repeat(300), 100);
        assert_eq!((units(&long), long.ends_with(" … (cut)")), (100, true));
        // A character of two units is never cut in half, and counts as two.
        let wide = cut(&"🦀".repeat(100), 41);
        assert_eq!(wide, format!("{}{CUT}", "🦀".repeat(16)));
    }

    #[test]
    fn a_cut_is_never_inside_an_escape() {
        let escaped = fitted(&"<".repeat(100), 150, slack);
        assert!(units(&escaped) <= 150 && escaped.ends_with("&lt; … (cut)"), "{escaped}");
        assert_eq!(fitted("<", 4, slack), "&lt;");
    }

    #[test]
    fn a_line_break_ends_nothing() {
        assert_eq!(clean("down\r\nBcc: everyone\u{202e}txt "), "down  Bcc: everyone txt");
    }

    #[test]
    fn each_medium_gets_its_own_escapes() {
        let nasty = r#"<b onclick='x'>"&" *_`[x](y)` <!channel> @everyone"#;
        assert_eq!(html(nasty), "&lt;b onclick=&#39;x&#39;&gt;&quot;&amp;&quot; *_`[x](y)` &lt;!channel&gt; @everyone");
        assert_eq!(slack("<!channel> & co"), "&lt;!channel&gt; &amp; co");
        assert_eq!(discord("*x* @everyone [a](b)"), r"\*x\* \@everyone \[a\](b)");
    }
}
