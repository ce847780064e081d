//! What the pages say, in each language they speak. What the monitor itself writes, names and messages, is shown as it is.

mod broke;
mod catalogue;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::web::text::catalogue::TEXTS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    English,
    Persian,
}

impl Lang {
    pub const ALL: [Lang; 2] = [Lang::English, Lang::Persian];

    /// As in the `lang` attribute of a page.
    pub fn name(self) -> &'static str {
        match self {
            Lang::English => "en",
            Lang::Persian => "fa",
        }
    }

    /// As it calls itself.
    pub fn own_name(self) -> &'static str {
        match self {
            Lang::English => "English",
            Lang::Persian => "فارسی",
        }
    }

    pub fn direction(self) -> &'static str {
        match self {
            Lang::English => "ltr",
            Lang::Persian => "rtl",
        }
    }

    pub fn from_name(name: &str) -> Option<Lang> {
        Lang::ALL.into_iter().find(|lang| lang.name() == name)
    }

    /// The first language of an `Accept-Language` that these pages speak, by weight.
    pub fn of_accept(header: &str) -> Lang {
        let mut wanted: Vec<(f32, Lang)> = Vec::new();
        for part in header.split(',') {
            let mut pieces = part.split(';').map(str::trim);
            let tag = pieces.next().unwrap_or_default().split('-').next().unwrap_or_default().to_ascii_lowercase();
            let weight = pieces.find_map(|piece| piece.strip_prefix("q=")).and_then(|weight| weight.parse().ok()).unwrap_or(1.0);
            wanted.extend(Lang::from_name(&tag).map(|lang| (weight, lang)));
        }
        let best = wanted.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map_or(Lang::English, |(_, lang)| lang)
    }
}

static BY_KEY: LazyLock<HashMap<&'static str, [&'static str; 2]>> =
    LazyLock::new(|| TEXTS.iter().copied().flatten().map(|(key, english, persian)| (*key, [*english, *persian])).collect());

/// The texts of one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text(pub Lang);

impl Text {
    /// The text of a key; the key itself where there is none, which a test finds.
    pub fn s(&self, key: &'static str) -> &'static str {
        BY_KEY.get(key).map_or(key, |texts| texts[self.0 as usize])
    }

    /// The text of a key with `{name}` replaced.
    pub fn with(&self, key: &'static str, values: &[(&str, &str)]) -> String {
        let mut text = self.s(key).to_owned();
        for (name, value) in values {
            text = text.replace(&format!("{{{name}}}"), &self.apart(value));
        }
        text
    }

    /// The text of a key with `{}` replaced.
    pub fn one(&self, key: &'static str, value: impl std::fmt::Display) -> String {
        self.s(key).replace("{}", &self.apart(&value.to_string()))
    }

    /// A value inside a text that runs from right to left keeps its own direction.
    fn apart(&self, value: &str) -> String {
        match self.0 {
            Lang::English => value.to_owned(),
            Lang::Persian => format!("\u{2068}{value}\u{2069}"),
        }
    }

    /// The text for a count: `one` where there is one, else `many`; `{}` is the count.
    pub fn count(&self, one: &'static str, many: &'static str, count: u64) -> String {
        self.one(if count == 1 { one } else { many }, count)
    }

    /// The text of a word the monitor uses that is sure to have one, as a test sees to.
    pub fn known(&self, group: &str, name: &str) -> &'static str {
        BY_KEY.get(format!("{group}.{name}").as_str()).map_or("", |texts| texts[self.0 as usize])
    }

    /// The text of a word the monitor uses, such as a verdict or a reason; the word itself where there is none.
    pub fn word<'a>(&self, group: &str, name: &'a str) -> &'a str {
        BY_KEY.get(format!("{group}.{name}").as_str()).map_or(name, |texts| texts[self.0 as usize])
    }
}

#[cfg(test)]
mod tests;
