//! Columns of whole numbers as bytes, and the small numbers and texts around them.
//!
//! A column is written in whichever of a few forms is smallest: one value for all rows, a value with its few exceptions,
//! the bits each value (or each step, where a column rises) has above the least of them, or packed by `pco`. A column of a
//! few hundred noisy latencies takes the bits their noise has and little more; one that hardly changes, or rises by the same
//! step, takes a few bytes whatever its length. Plain bits have next to no head and are read fastest, which tells in a
//! column of an hour's sixty checks; `pco` is better where a few values lie far off.

use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

/// No block holds more rows; a larger count read back is damage.
pub const MOST_ROWS: usize = 1 << 16;

const CONSTANT: u8 = 0;
const SPARSE: u8 = 1;
const PACKED: u8 = 2;
const BITS: u8 = 3;
const STEPS: u8 = 4;

/// Plain bits so short are not held against what `pco` makes of them.
const SMALL: usize = 24;

/// Why bytes are not what was written.
pub type Damage = String;

/// Whether a column rises, so that its steps say less than its values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Rising,
    Noisy,
}

#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// LEB128.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Zig-zag, so that small numbers of either sign are short.
    pub fn signed(&mut self, value: i64) {
        self.number(zigzag(value));
    }

    pub fn text(&mut self, text: &str) {
        self.slice(text.as_bytes());
    }

    pub fn slice(&mut self, slice: &[u8]) {
        self.number(slice.len() as u64);
        self.bytes.extend_from_slice(slice);
    }

    /// A column of as many rows as its reader will be told; each column carries its length so that it can be skipped.
    pub fn column(&mut self, values: &[i64], shape: Shape) {
        let mut column = Writer::default();
        column.column_body(values, shape);
        self.slice(&column.bytes);
    }

    fn column_body(&mut self, values: &[i64], shape: Shape) {
        let Some(usual) = most_frequent(values) else { return };
        let exceptions = values.iter().filter(|value| **value != usual).count();
        if exceptions == 0 {
            self.byte(CONSTANT);
            self.signed(usual);
            return;
        }
        if exceptions * 8 <= values.len() + 8 {
            self.sparse(values, usual, exceptions);
            return;
        }
        let mut plain = Writer::default();
        match shape {
            Shape::Noisy => {
                plain.byte(BITS);
                plain.frame(values);
            }
            Shape::Rising => {
                plain.byte(STEPS);
                plain.signed(values[0]);
                plain.frame(&values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect::<Vec<i64>>());
            }
        }
        // So small a column `pco` could not beat: its head alone is as long.
        if plain.bytes.len() > SMALL {
            self.byte(PACKED);
            pack(values, shape, &mut self.bytes);
        }
        if self.bytes.is_empty() || plain.bytes.len() <= self.bytes.len() {
            self.bytes = plain.bytes;
        }
    }

    /// The least value, the bits the others have above it, and these.
    fn frame(&mut self, values: &[i64]) {
        let least = values.iter().copied().min().unwrap_or(0);
        let above = |value: &i64| value.wrapping_sub(least) as u64;
        let width = 64 - values.iter().map(above).max().unwrap_or(0).leading_zeros();
        self.signed(least);
        self.byte(width as u8);
        let (mut waiting, mut count) = (0u128, 0);
        for value in values {
            waiting |= u128::from(above(value)) << count;
            count += width;
            while count >= 8 {
                self.byte(waiting as u8);
                waiting >>= 8;
                count -= 8;
            }
        }
        if count > 0 {
            self.byte(waiting as u8);
        }
    }

    fn sparse(&mut self, values: &[i64], usual: i64, exceptions: usize) {
        self.byte(SPARSE);
        self.signed(usual);
        self.number(exceptions as u64);
        let mut next = 0;
        for (row, value) in values.iter().enumerate().filter(|(_, value)| **value != usual) {
            self.number((row - next) as u64);
            self.signed(*value);
            next = row + 1;
        }
    }
}

pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8, Damage> {
        let (first, rest) = self.bytes.split_first().ok_or("bytes end early")?;
        self.bytes = rest;
        Ok(*first)
    }

    pub fn number(&mut self) -> Result<u64, Damage> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("number is too long".to_owned())
    }

    pub fn signed(&mut self) -> Result<i64, Damage> {
        Ok(unzigzag(self.number()?))
    }

    pub fn slice(&mut self) -> Result<&'a [u8], Damage> {
        let length = usize::try_from(self.number()?).map_err(|error| error.to_string())?;
        if length > self.bytes.len() {
            return Err("bytes end early".to_owned());
        }
        let (slice, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Ok(slice)
    }

    pub fn text(&mut self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.slice()?).map_err(|error| error.to_string())
    }
}

/// Reads back the bytes of one column, as [`Reader::slice`] gives them.
pub fn read_column(bytes: &[u8], rows: usize) -> Result<Vec<i64>, Damage> {
    if rows == 0 {
        return Ok(Vec::new());
    }
    if rows > MOST_ROWS {
        return Err(format!("column claims {rows} rows"));
    }
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        CONSTANT => Ok(vec![reader.signed()?; rows]),
        SPARSE => {
            let mut values = vec![reader.signed()?; rows];
            let exceptions = reader.number()?;
            let mut next = 0usize;
            for _ in 0..exceptions {
                let row = next.saturating_add(usize::try_from(reader.number()?).map_err(|error| error.to_string())?);
                *values.get_mut(row).ok_or("exception lies outside its column")? = reader.signed()?;
                next = row + 1;
            }
            Ok(values)
        }
        PACKED => unpack(reader.bytes, rows),
        BITS => read_frame(&mut reader, rows),
        STEPS => {
            let mut values = Vec::with_capacity(rows);
            values.push(reader.signed()?);
            for step in read_frame(&mut reader, rows - 1)? {
                values.push(values[values.len() - 1].wrapping_add(step));
            }
            Ok(values)
        }
        form => Err(format!("column has the unknown form {form}")),
    }
}

fn read_frame(reader: &mut Reader, rows: usize) -> Result<Vec<i64>, Damage> {
    let (least, width) = (reader.signed()?, u32::from(reader.byte()?));
    if width > 64 {
        return Err(format!("column has values of {width} bits"));
    }
    let mask = u64::MAX.checked_shr(64 - width).unwrap_or(0);
    let (mut waiting, mut count) = (0u128, 0);
    let mut values = Vec::with_capacity(rows);
    for _ in 0..rows {
        while count < width {
            waiting |= u128::from(reader.byte()?) << count;
            count += 8;
        }
        values.push(least.wrapping_add((waiting as u64 & mask) as i64));
        waiting >>= width;
        count -= width;
    }
    Ok(values)
}

pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// The most frequent value by the majority vote of Boyer and Moore: exact where one value fills more than half the column,
/// which is where it matters.
fn most_frequent(values: &[i64]) -> Option<i64> {
    let (mut candidate, mut lead) = (*values.first()?, 0usize);
    for value in values {
        if lead == 0 {
            candidate = *value;
        }
        if *value == candidate { lead += 1 } else { lead -= 1 }
    }
    Some(candidate)
}

fn pack(values: &[i64], shape: Shape, out: &mut Vec<u8>) {
    let delta = match shape {
        Shape::Rising => DeltaSpec::TryConsecutive(1),
        Shape::Noisy => DeltaSpec::NoOp,
    };
    let config = ChunkConfig::default().with_mode_spec(ModeSpec::Classic).with_delta_spec(delta);
    let file = FileCompressor::default();
    let mut write = || {
        file.write_header(&mut *out)?;
        let mut chunk = file.chunk_compressor(values, &config)?;
        chunk.write_meta(&mut *out)?;
        chunk.write_page(0, &mut *out)?;
        Ok::<(), pco::errors::PcoError>(())
    };
    write().expect("a non-empty column of numbers always packs into memory");
}

fn unpack(bytes: &[u8], rows: usize) -> Result<Vec<i64>, Damage> {
    let mut values = vec![0i64; rows];
    let mut read = || {
        let (file, rest) = FileDecompressor::new(bytes)?;
        let (mut chunk, rest) = file.chunk_decompressor::<i64, _>(rest)?;
        let progress = chunk.page_decompressor(rest, rows)?.read(&mut values)?;
        Ok::<usize, pco::errors::PcoError>(progress.n_processed)
    };
    match read() {
        Ok(found) if found == rows => Ok(values),
        Ok(found) => Err(format!("column holds {found} rows instead of {rows}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[i64]) -> usize {
        let mut size = 0;
        for shape in [Shape::Rising, Shape::Noisy] {
            let mut writer = Writer::default();
            writer.column(values, shape);
            size = writer.bytes.len();
            let mut reader = Reader::new(&writer.bytes);
            assert_eq!(read_column(reader.slice().unwrap(), values.len()).unwrap(), values);
            assert!(reader.is_empty());
        }
        size
    }

    #[test]
    fn columns_come_back_as_they_were_written() {
        assert!(check(&[7; 300]) <= 4);
        check(&[]);
        check(&[i64::MIN, i64::MAX, 0, -1, 1]);
        check(&[i64::MAX]);
        check(&(0..300).map(|row| if row == 17 { i64::MIN } else { 200 }).collect::<Vec<_>>());
        check(&(0..300).map(|row| row * 1_000_000 + row * row * 7919 % 1013).collect::<Vec<_>>());
        check(&(0..300).map(|row: i64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)).collect::<Vec<_>>());
    }

    #[test]
    fn a_steady_step_costs_nothing_and_a_short_column_little_more_than_its_noise() {
        let mut writer = Writer::default();
        writer.column(&(0..60).map(|row| START + row * 60_000_000).collect::<Vec<_>>(), Shape::Rising);
        assert!(writer.bytes.len() <= 20, "{} bytes", writer.bytes.len());
        let noise = |row: i64| (row.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 33) & 0xfff;
        let size = check(&(0..60).map(noise).collect::<Vec<_>>());
        assert!(size <= 60 * 12 / 8 + 8, "{size} bytes for 60 rows of 12 bits");
    }

    const START: i64 = 1_767_225_600_000_000;

    #[test]
    fn noise_costs_the_bits_it_has() {
        let noise = |row: i64| (row.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 33) & 0xfff;
        let size = check(&(0..240).map(noise).collect::<Vec<_>>());
        assert!(size < 240 * 12 / 8 + 40, "{size} bytes for 240 rows of 12 bits");
    }

    #[test]
    fn damage_is_an_error_and_not_a_panic() {
        let mut writer = Writer::default();
        writer.column(&(0..100).map(|row| row * row % 37).collect::<Vec<_>>(), Shape::Noisy);
        let column = Reader::new(&writer.bytes).slice().unwrap().to_vec();
        for length in 0..column.len() {
            let _ = read_column(&column[..length], 100);
        }
        assert!(read_column(&[9], 1).is_err());
        assert!(read_column(&[SPARSE, 0, 1, 200, 1, 0], 100).is_err());
        assert!(read_column(&[BITS, 0, 65], 100).is_err());
        assert!(read_column(&[BITS, 0, 12, 1], 100).is_err());
        assert!(read_column(&[STEPS, 0], 100).is_err());
    }
}
