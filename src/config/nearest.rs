//! A name that was probably meant, for one that is not known.

/// The known name fewest edits away, where so few that it is likely: a third of its letters, two at least.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    known
        .into_iter()
        .map(|name| (edits(&given, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits <= (name.chars().count() / 3).max(2) && *edits < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// `; did you mean …?`, or nothing.
pub fn suggestion<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, known).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// Levenshtein distance, one row at a time.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, against) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name_and_nonsense_none() {
        let known = ["journal_max_bytes", "block_span_s", "url"];
        assert_eq!(nearest("journal_max_byte", known), Some("journal_max_bytes"));
        assert_eq!(nearest("URL", known), Some("url"));
        assert_eq!(nearest("blokc_span_s", known), Some("block_span_s"));
        assert_eq!(nearest("colour", known), None);
    }
}
