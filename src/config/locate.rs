//! Where in a text something stands: lines and columns from 1, a column being a character.
//!
//! A JSON parser that builds values forgets where it read them. `json_position` walks the text once more, only as exactly as it
//! needs to: the text has been parsed before, so it is well formed.

use std::collections::HashSet;

/// The line and column of a byte offset; an offset beyond the end is the end.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Where the field at `path`, such as `[2].expect.json[0].path`, stands in a JSON text: its key, or the entry itself in a list.
/// A field that is not there is found at the innermost value it would be in. `None` where the text is no JSON.
pub fn json_position(text: &str, path: &str) -> Option<(usize, usize)> {
    let mut walk = Walk { text, at: 0 };
    walk.blank();
    let start = walk.at;
    let found = walk.find(path, start)?;
    Some(line_column(text, found))
}

/// The keys that an object holds more than once, each at its repetition: a parser would take the last and say nothing.
pub fn repeated_keys(text: &str) -> Vec<(String, (usize, usize))> {
    let mut walk = Walk { text, at: 0 };
    let mut repeated = Vec::new();
    walk.note_repeated("", &mut repeated);
    repeated.into_iter().map(|(path, offset)| (path, line_column(text, offset))).collect()
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl Walk<'_> {
    /// Stands at a value that the rest of the path leads into; `place` is where that value is said to be.
    fn find(&mut self, path: &str, place: usize) -> Option<usize> {
        if path.is_empty() {
            return Some(place);
        }
        match self.peek()? {
            b'{' => self.find_in_object(path, place),
            b'[' => self.find_in_list(path, place),
            _ => Some(place),
        }
    }

    /// Keys may hold dots and brackets, so the path is not cut up beforehand: the longest key that the path begins with is it.
    fn find_in_object(&mut self, path: &str, place: usize) -> Option<usize> {
        let path = path.strip_prefix('.').unwrap_or(path);
        let mut best: Option<(usize, usize, usize)> = None;
        self.at += 1;
        loop {
            self.blank();
            if self.peek()? == b'}' {
                break;
            }
            let key_start = self.at;
            let key = self.string()?;
            self.blank();
            self.expect(b':')?;
            self.blank();
            let begins = path.strip_prefix(key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            if begins && best.is_none_or(|(length, ..)| key.len() >= length) {
                best = Some((key.len(), key_start, self.at));
            }
            self.skip_value()?;
            self.blank();
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        match best {
            None => Some(place),
            Some((length, key_start, value_start)) => {
                self.at = value_start;
                self.find(&path[length..], key_start)
            }
        }
    }

    fn find_in_list(&mut self, path: &str, place: usize) -> Option<usize> {
        let Some((index, rest)) = path.strip_prefix('[').and_then(|path| path.split_once(']')) else { return Some(place) };
        let Ok(index) = index.parse::<usize>() else { return Some(place) };
        self.at += 1;
        for _ in 0..index {
            self.blank();
            if self.peek()? == b']' {
                return Some(place);
            }
            self.skip_value()?;
            self.blank();
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.blank();
        if self.peek()? == b']' {
            return Some(place);
        }
        self.find(rest, self.at)
    }

    /// Passes over one value. Its depth is that of a text serde_json has parsed, which takes 128 levels at most.
    fn note_repeated(&mut self, path: &str, repeated: &mut Vec<(String, usize)>) -> Option<()> {
        self.blank();
        let (open, close) = match self.peek()? {
            b'{' => (b'{', b'}'),
            b'[' => (b'[', b']'),
            _ => return self.skip_value(),
        };
        let mut keys = HashSet::new();
        self.at += 1;
        for index in 0.. {
            self.blank();
            if self.peek()? == close {
                break;
            }
            let inner = if open == b'[' {
                format!("{path}[{index}]")
            } else {
                let at = self.at;
                let key = self.string()?;
                self.blank();
                self.expect(b':')?;
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if !keys.insert(key) {
                    repeated.push((inner.clone(), at));
                }
                inner
            };
            self.note_repeated(&inner, repeated)?;
            self.blank();
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Some(())
    }

    /// Passes over one value, however deep, without recursion.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            self.blank();
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                byte if byte == b'-' || byte.is_ascii_alphanumeric() => {
                    while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
                        self.at += 1;
                    }
                }
                _ => return None,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A string with its escapes undone.
    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[\n  {\"name\": \"ä\", \"expect\": {\"json\": [\n    {\"path\": \"$.a\"},\n    {\"path\": \"$[\"}]}},\n  \
                        {\"headers\": {\"a.b\": \"x\", \"a\": {\"b\": 1}}, \"n\": [[1, -2.5e3], true]}\n]";

    fn check(path: &str, expected: (usize, usize)) {
        assert_eq!(json_position(TEXT, path), Some(expected), "{path}");
    }

    #[test]
    fn a_field_is_found_at_its_key_and_an_entry_at_itself() {
        check("", (1, 1));
        check("[0]", (2, 3));
        check("[0].expect", (2, 17));
        check("[0].expect.json[1]", (4, 5));
        check("[0].expect.json[1].path", (4, 6));
        check("[1].headers.a.b", (5, 16));
        check("[1].n[0][1]", (5, 54));
    }

    #[test]
    fn a_missing_field_is_found_at_what_it_would_be_in() {
        check("[0].base_url", (2, 3));
        check("[0].expect.status", (2, 17));
        check("[7].name", (1, 1));
        assert_eq!(json_position("[{\"a\": ", "[0].b"), None);
    }

    #[test]
    fn a_key_given_twice_is_found_where_it_is_repeated() {
        let text = "[{\"a\": 1, \"b\": {\"a\": [], \"a\": 2}},\n {\"a\": 1, \"b\": 2,\n \"\\u0061\": 3}]";
        assert_eq!(repeated_keys(text), [("[0].b.a".to_owned(), (1, 26)), ("[1].a".to_owned(), (3, 2))]);
        assert_eq!(repeated_keys(TEXT), []);
    }

    proptest::proptest! {
        #[test]
        fn no_text_and_no_path_makes_it_panic(text in "[\\[\\]{}\",:\\\\a1 \n-]{0,40}", path in "[a.\\[\\]0-2]{0,8}") {
            let _ = (json_position(&text, &path), repeated_keys(&text));
        }
    }
}
