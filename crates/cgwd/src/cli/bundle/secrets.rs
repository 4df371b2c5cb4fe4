//! Looks for secrets in everything that goes into a bundle, in every spelling a tool might give them, and takes
//! them out. Nothing of ours prints a secret; this is for what others print, and for the day we err.

use model::Secret;

/// What stands in a secret's place.
const STAND_IN: &str = "[secret removed]";
/// Shorter ones stand everywhere by chance.
const OCTETS_MIN: usize = 4;
/// Lines of a key file that are worth looking for by themselves.
const LINE_OCTETS_MIN: usize = 16;

/// The spellings of all secrets, the longest first.
#[derive(Default)]
pub(super) struct Scrubber {
    spellings: Vec<Secret>,
}

impl Scrubber {
    /// Adds a secret: itself, its lines, and both in hexadecimal and Base64.
    pub(super) fn add(&mut self, secret: &Secret) {
        let whole = secret.expose().trim_ascii();
        self.spell(whole);
        if whole.contains(&b'\n') {
            let lines = whole.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii);
            lines
                .filter(|line| line.len() >= LINE_OCTETS_MIN && !line.starts_with(b"-----"))
                .for_each(|line| self.spell(line));
        }
        self.spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    }

    fn spell(&mut self, secret: &[u8]) {
        if secret.len() < OCTETS_MIN {
            return;
        }
        let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        let all = [secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
        let base64 = (0..3).flat_map(|offset| {
            let coded = base64(secret, offset);
            let url = coded
                .iter()
                .map(|c| match c {
                    b'+' => b'-',
                    b'/' => b'_',
                    c => *c,
                })
                .collect();
            [coded, url]
        });
        self.spellings.extend(all.into_iter().chain(base64).map(Secret::new));
    }

    /// How many octet strings it looks for.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.spellings.len()
    }

    /// The text without any of them, and how many there were.
    pub(super) fn scrub(&self, text: &str) -> (String, usize) {
        let (mut text, mut count) = (text.to_owned(), 0);
        for spelling in &self.spellings {
            // What is no UTF-8 cannot stand in a text.
            let Ok(spelling) = std::str::from_utf8(spelling.expose()) else { continue };
            let found = text.matches(spelling).count();
            if found > 0 {
                count += found;
                text = text.replace(spelling, STAND_IN);
            }
        }
        (text, count)
    }
}

/// The Base64 digits (RFC 4648 §4) that depend on these octets alone when `offset` others stand before them.
fn base64(octets: &[u8], offset: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |index: usize| {
        let octet = index
            .checked_sub(offset * 8)
            .and_then(|index| octets.get(index / 8).map(|octet| (octet, index % 8)));
        octet.map_or(0, |(octet, bit)| octet >> (7 - bit) & 1)
    };
    let (first, last) = ((offset * 8).div_ceil(6), (offset + octets.len()) * 8 / 6);
    (first..last)
        .map(|digit| {
            let value = (0..6).fold(0_usize, |value, b| value << 1 | usize::from(bit(digit * 6 + b)));
            DIGITS.get(value).copied().unwrap_or(b'A')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard_whatever_stands_before() {
        assert_eq!(base64(b"foobar", 0), b"Zm9vYmFy");
        // "xfoobarx" is eGZvb2Jhcng=, "xxfoobar" is eHhmb29iYXI=.
        assert_eq!(base64(b"foobar", 1), b"Zvb2Jhc");
        assert_eq!(base64(b"foobar", 2), b"mb29iYX");
    }

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let mut scrubber = Scrubber::default();
        scrubber.add(&Secret::from(&b"lab_Psk.Tunnel1"[..]));
        scrubber.add(&Secret::from(
            &b"-----BEGIN PRIVATE KEY-----\nMIIBVAIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n"[..],
        ));
        scrubber.add(&Secret::from(&b"abc"[..]));
        assert!(scrubber.len() > 0);
        for text in [
            "key lab_Psk.Tunnel1 here",
            "6c61625f50736b2e54756e6e656c31",
            "6C61625F50736B2E54756E6E656C31",
            "bGFiX1Bzay5UdW5uZWwx",
            "eGxhYl9Qc2suVHVubmVsMXg=",
            "eHhsYWJfUHNrLlR1bm5lbDE=",
            "openssl: MIIBVAIBADANBgkqhkiG9w0B",
        ] {
            let (scrubbed, count) = scrubber.scrub(text);
            assert!(count == 1 && scrubbed.contains(STAND_IN), "{text}: {scrubbed}");
        }
        assert_eq!(
            scrubber.scrub("abc is no secret worth the name"),
            ("abc is no secret worth the name".to_owned(), 0)
        );
    }
}
