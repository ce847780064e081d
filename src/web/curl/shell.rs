//! The words a shell would make of a pasted command, and where the command ends. Pure.
//!
//! Nothing is run or filled in: a `$NAME` stays as it is. A line end that is not escaped is a space, since commands are often copied
//! without the mark at the end of a line; and a placeholder such as `<id>` inside a word is text.

use std::iter::Peekable;
use std::str::Chars;

use crate::web::curl::CurlError;

type Letters<'text> = Peekable<Chars<'text>>;

/// The words read so far, and the one that is being read.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: Option<String>,
    /// The next word names the file of a redirection.
    is_file: bool,
}

impl Words {
    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn end(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.is_file)
        {
            self.done.push(word);
        }
    }

    /// A `>` or `<` was read; digits right before it name what is redirected.
    fn redirect(&mut self, letters: &mut Letters<'_>) {
        if self.is_number() {
            self.word = None;
        }
        self.end();
        while letters.next_if(|letter| "<>&|".contains(*letter)).is_some() {}
        self.is_file = true;
    }

    fn is_number(&self) -> bool {
        self.word.as_ref().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn holds(&self, letter: char) -> bool {
        self.word.as_ref().is_some_and(|word| word.contains(letter))
    }
}

/// The words of the first command of a text: up to a `|`, `;` or `&`, and without its redirections.
pub fn words(command: &str) -> Result<Vec<String>, CurlError> {
    let mut text = command.replace("\r\n", "\n");
    let cmd = is_cmd(&text);
    if cmd {
        text = without_carets(&text);
    }
    let mut words = Words::default();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        match letter {
            '\'' => single_quoted(&mut letters, words.word())?,
            '"' => double_quoted(&mut letters, words.word(), cmd)?,
            '$' if next == Some('\'') => {
                letters.next();
                ansi(&mut letters, words.word())?;
            }
            '\\' | '^' | '`' if matches!(next, Some('\n' | '\r')) => {
                while letters.next_if(|letter| matches!(letter, '\n' | '\r')).is_some() {}
            }
            // On Windows it only stands for something before a quote.
            '\\' if cmd && next != Some('"') => words.word().push('\\'),
            '\\' => words.word().extend(letters.next()),
            // Chrome once wrote a line end in a value as `"one"^`, an empty line, `"two"`.
            '\n' if cmd && words.word.is_some() && next == Some('"') => words.word().push('\n'),
            letter if letter.is_whitespace() => words.end(),
            '>' if !words.holds('<') => words.redirect(&mut letters),
            '<' if words.word.is_none() || words.is_number() => words.redirect(&mut letters),
            '&' if next == Some('>') => words.end(),
            // A shell would end here as well; but who leaves out the quotes means the whole address.
            '&' if words.holds('?') && next.is_some_and(|next| next.is_alphanumeric() || "_%[".contains(next)) => words.word().push('&'),
            ';' if cmd => words.word().push(';'),
            '|' | '&' | ';' => break,
            letter => words.word().push(letter),
        }
    }
    words.end();
    Ok(words.done)
}

fn single_quoted(letters: &mut Letters<'_>, word: &mut String) -> Result<(), CurlError> {
    loop {
        match letters.next().ok_or(CurlError::Unclosed('\''))? {
            '\'' => return Ok(()),
            letter => word.push(letter),
        }
    }
}

fn double_quoted(letters: &mut Letters<'_>, word: &mut String, cmd: bool) -> Result<(), CurlError> {
    let escapable = if cmd { "\"\\" } else { "\"\\$`" };
    loop {
        match letters.next().ok_or(CurlError::Unclosed('"'))? {
            '"' => return Ok(()),
            '\\' => match letters.next().ok_or(CurlError::Unclosed('"'))? {
                '\n' if !cmd => {}
                next if escapable.contains(next) => word.push(next),
                next => word.extend(['\\', next]),
            },
            letter => word.push(letter),
        }
    }
}

/// The inside of `$'…'`.
fn ansi(letters: &mut Letters<'_>, word: &mut String) -> Result<(), CurlError> {
    // A browser writes what is beyond four digits as two halves.
    let mut half: Option<u32> = None;
    loop {
        match letters.next().ok_or(CurlError::Unclosed('\''))? {
            '\'' => return Ok(()),
            '\\' => match letters.next().ok_or(CurlError::Unclosed('\''))? {
                'n' => word.push('\n'),
                't' => word.push('\t'),
                'r' => word.push('\r'),
                'b' => word.push('\u{8}'),
                'f' => word.push('\u{c}'),
                mark @ ('u' | 'U' | 'x') => {
                    let most = match mark {
                        'u' => 4,
                        'U' => 8,
                        _ => 2,
                    };
                    let mut digits = String::new();
                    while digits.len() < most && letters.peek().is_some_and(char::is_ascii_hexdigit) {
                        digits.extend(letters.next());
                    }
                    match (half.take(), u32::from_str_radix(&digits, 16)) {
                        (_, Ok(high @ 0xd800..0xdc00)) => half = Some(high),
                        (Some(high), Ok(low @ 0xdc00..0xe000)) => {
                            word.extend(char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
                        }
                        (_, code) => word.extend(code.ok().and_then(char::from_u32)),
                    }
                }
                other => word.push(other),
            },
            letter => word.push(letter),
        }
    }
}

/// Whether a text is quoted for `cmd.exe`: outside of quotes, a word begins with `^"` or a line ends in `^`.
fn is_cmd(text: &str) -> bool {
    let mut letters = text.chars().peekable();
    let mut quote: Option<char> = None;
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        match (quote, letter) {
            (Some('\''), '\'') | (Some('$'), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), _) => {}
            (_, '\\') => drop(letters.next()),
            (Some(_), _) => {}
            (None, '\'') => quote = Some(if before == '$' { '$' } else { '\'' }),
            (None, '"') => quote = Some('"'),
            (None, '^') if next == Some('\n') || (next == Some('"') && before.is_whitespace()) => return true,
            (None, _) => {}
        }
        before = letter;
    }
    false
}

/// What `cmd.exe` hands on: `^x` is `x`, and `^` at a line's end joins the lines, unless an empty line follows: that is a line end.
/// Between quotes that are not escaped themselves a caret is a caret.
fn without_carets(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '^' if !quoted => match letters.next() {
                Some('\n') => plain.extend(letters.next_if_eq(&'\n')),
                next => plain.extend(next),
            },
            letter => {
                quoted ^= letter == '"';
                plain.push(letter);
            }
        }
    }
    plain
}
