//! Failing rows, one after the other and each with its place in the block: read in microseconds, with no column unpacked.

use crate::store::codec::{COLUMNS, Row, column, holds};
use crate::store::columns::{Damage, Reader, Writer};

pub(super) fn write<'a>(rows: impl Iterator<Item = (usize, &'a Row)>) -> Vec<u8> {
    let mut out = Writer::default();
    let (mut next, mut last) = (0, [0; COLUMNS]);
    for (place, row) in rows {
        out.number((place - next) as u64);
        out.number(row[column::FLAGS] as u64);
        for index in values().filter(|index| holds(row, *index)) {
            out.signed(row[index].wrapping_sub(base(&last, index)));
        }
        (next, last) = (place + 1, *row);
    }
    out.bytes
}

/// Their places rise and lie below `rows`.
pub(super) fn read(bytes: &[u8], rows: usize) -> Result<Vec<(usize, Row)>, Damage> {
    let mut from = Reader::new(bytes);
    let mut found = Vec::new();
    let (mut next, mut last) = (0usize, [0; COLUMNS]);
    while !from.is_empty() {
        let steps = usize::try_from(from.number()?).map_err(|error| error.to_string())?;
        let place = next.checked_add(steps).filter(|place| *place < rows).ok_or("row lies outside its block")?;
        let mut row = [0; COLUMNS];
        row[column::FLAGS] = from.number()? as i64;
        for index in values() {
            if holds(&row, index) {
                row[index] = from.signed()?.wrapping_add(base(&last, index));
            }
        }
        found.push((place, row));
        (next, last) = (place + 1, row);
    }
    Ok(found)
}

/// The columns of a row in the order they are written; its flags come before them.
fn values() -> impl Iterator<Item = usize> {
    (0..COLUMNS).filter(|index| *index != column::FLAGS)
}

/// What a value is written against: that of the row before, where values rise or stay as they are.
fn base(last: &Row, index: usize) -> i64 {
    match index {
        column::STARTED | column::SEQ | column::OFFSET => last[index],
        _ => 0,
    }
}
