//! Who is meant by `@name` in a Markdown text. Code is not looked at.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// The names mentioned that `known` knows, each once, in the order they come.
pub fn mentions(markdown: &str, known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut code = 0usize;
    // One text may come in several pieces.
    let mut text = String::new();
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => code += 1,
            Event::End(TagEnd::CodeBlock) => code = code.saturating_sub(1),
            Event::Text(piece) if code == 0 => {
                text.push_str(&piece);
                continue;
            }
            _ => {}
        }
        collect(&text, &known, &mut found);
        text.clear();
    }
    collect(&text, &known, &mut found);
    found
}

fn collect(text: &str, known: &impl Fn(&str) -> bool, found: &mut Vec<String>) {
    for (at, _) in text.match_indices('@') {
        // In the middle of a word it is an address of e-mail.
        if text[..at].chars().next_back().is_some_and(fits) {
            continue;
        }
        let rest = &text[at + 1..];
        let end = rest.find(|letter| !fits(letter)).unwrap_or(rest.len());
        if let Some(name) = longest(&rest[..end], known)
            && !found.iter().any(|other| other == name)
        {
            found.push(name.to_owned());
        }
    }
}

/// A name may end in what ends a sentence: the longest one that is known is meant.
fn longest<'a>(candidate: &'a str, known: &impl Fn(&str) -> bool) -> Option<&'a str> {
    let mut name = candidate;
    while !name.is_empty() {
        if known(name) {
            return Some(name);
        }
        let cut = name.trim_end_matches(|letter: char| letter.is_ascii_alphanumeric());
        name = if cut.len() == name.len() { &name[..name.len() - 1] } else { cut };
    }
    None
}

/// What names are made of.
fn fits(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let users = ["ada", "bob", "eve.l", "ann@example.com"];
        assert_eq!(mentions(text, |name| users.contains(&name)), expected, "{text}");
    }

    #[test]
    fn people_are_mentioned_by_a_name_that_is_known() {
        check("@ada, and (@bob) too: @ada. @nobody", &["ada", "bob"]);
        check("**@eve.l**: see @ann@example.com.", &["eve.l", "ann@example.com"]);
        check("mail ada@bob or x@ada", &[]);
        check("`@ada`\n\n```\n@bob\n```\n\n    @ada\n", &[]);
        check("@@ada @adas @", &[]);
    }

    #[test]
    fn a_name_ends_where_the_sentence_does() {
        check("Thanks @eve.l... and @bob-", &["eve.l", "bob"]);
    }
}
