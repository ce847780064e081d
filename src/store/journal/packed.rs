//! A batch as it lies in the journal: compressed where that makes it smaller. It lies there for minutes only, but it is written
//! to the log and to the tables of the store, and stays there until the store cleans up behind itself.

use std::borrow::Cow;

/// No batch begins so: its first byte is a version, and those begin at one.
const COMPRESSED: u8 = 0;

pub fn pack(batch: &[u8]) -> Cow<'_, [u8]> {
    let mut packed = vec![COMPRESSED];
    packed.extend(lz4_flex::block::compress_prepend_size(batch));
    if packed.len() < batch.len() { Cow::Owned(packed) } else { Cow::Borrowed(batch) }
}

pub fn unpack(data: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let Some((&COMPRESSED, packed)) = data.split_first() else { return Ok(Cow::Borrowed(data)) };
    let (size, packed) = packed.split_first_chunk().ok_or("bytes end early")?;
    let size = u32::from_le_bytes(*size) as usize;
    // No byte of this form stands for more: a size beyond that is damage, and room for it is not to be asked for.
    if size / 255 > packed.len() {
        return Err(format!("{} bytes claim to stand for {size}", packed.len()));
    }
    let batch = lz4_flex::block::decompress(packed, size).map_err(|error| error.to_string())?;
    if batch.len() != size {
        return Err(format!("{} bytes came instead of {size}", batch.len()));
    }
    Ok(Cow::Owned(batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_as_it_was_and_is_never_larger() {
        for batch in [vec![], vec![1], vec![1; 5000], (0..=255).map(|byte| byte | 1).collect::<Vec<u8>>()] {
            let packed = pack(&batch);
            assert!(packed.len() <= batch.len());
            assert_eq!(*unpack(&packed).unwrap(), *batch);
        }
        for damaged in [&[COMPRESSED][..], &[COMPRESSED, 9, 0, 0, 0, 1], &[COMPRESSED, 0xff, 0xff, 0xff, 0xff, 1, 1]] {
            assert!(unpack(damaged).is_err(), "{damaged:?}");
        }
    }
}
