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
    match data.split_first() {
        Some((&COMPRESSED, packed)) => {
            lz4_flex::block::decompress_size_prepended(packed).map(Cow::Owned).map_err(|error| error.to_string())
        }
        _ => Ok(Cow::Borrowed(data)),
    }
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
        assert!(unpack(&[COMPRESSED, 9, 0, 0, 0, 1]).is_err());
    }
}
