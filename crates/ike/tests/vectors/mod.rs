//! What the wire and crypto tests share: a seeded generator, hexadecimal, and the committed vector files.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use model::SecureRng;

/// SplitMix64: the same stream for the same seed, on every machine.
pub(crate) struct SeededRng(pub(crate) u64);

impl SecureRng for SeededRng {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Octets of a hexadecimal text; white space is ignored.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).unwrap())
        .collect();
    assert_eq!(digits.len() % 2, 0, "whole octets");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// One record of a vector file: `name = value` lines.
pub(crate) struct Record(BTreeMap<String, String>);

impl Record {
    /// A value as text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("the vector has no {name}"))
    }

    /// A value as octets.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.text(name))
    }
}

/// Records of a vector file; blank lines part them, `#` starts a comment.
pub(crate) fn records(file: &str) -> Vec<Record> {
    let mut records = vec![Record(BTreeMap::new())];
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(" = ") {
            Some((name, value)) => {
                let old = records.last_mut().unwrap().0.insert(name.to_owned(), value.to_owned());
                assert!(old.is_none(), "{name} stands twice in one record");
            }
            None => {
                assert_eq!(line, "", "a line without a value");
                records.push(Record(BTreeMap::new()));
            }
        }
    }
    records.retain(|record| !record.0.is_empty());
    records
}

/// Between one and eight random edits: octets set, bits flipped, parts cut, doubled or dropped, and half of the
/// time the header's Length put right again, so that the edit reaches the parser behind it.
pub(crate) fn mutate(original: &[u8], rng: &mut dyn SecureRng) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let below =
        |rng: &mut dyn SecureRng, limit: usize| usize::try_from(rng.next_u32()).unwrap() % limit.max(1);
    for _ in 0..=below(rng, 8) {
        let at = below(rng, bytes.len());
        let value = u8::try_from(rng.next_u32() & 0xff).unwrap();
        match below(rng, 6) {
            0 | 1 if !bytes.is_empty() => bytes[at] = value,
            2 if !bytes.is_empty() => bytes[at] ^= 1 << (value % 8),
            3 => bytes.truncate(at),
            4 => {
                let end = (at + usize::from(value % 16)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = (at + usize::from(value % 16)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    let length = u32::try_from(bytes.len()).unwrap();
    if rng.next_u32().is_multiple_of(2)
        && let Some(field) = bytes.get_mut(24..28)
    {
        field.copy_from_slice(&length.to_be_bytes());
    }
    bytes
}
