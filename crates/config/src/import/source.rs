//! A text that knows where in the file each of its octets came from, through any number of escapes.

use std::ops::Range;

use zeroize::Zeroizing;

/// A piece of the input, or what is left of it after unescaping; wiped on drop, as it may hold keys.
#[derive(Clone)]
pub(super) struct Source {
    text: Zeroizing<String>,
    /// The octet of the file for each octet of `text`, and one for the end.
    origin: Vec<u32>,
}

impl Source {
    /// `text[range]`, with places that refer to `text`.
    pub(super) fn piece(text: &str, range: Range<usize>) -> Self {
        let piece = text.get(range.clone()).unwrap_or_default();
        let start = if piece.is_empty() { range.start.min(text.len()) } else { range.start };
        let origin = (start..=start + piece.len()).map(offset).collect();
        Self { text: Zeroizing::new(piece.to_owned()), origin }
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where `range` of the text stands in the file.
    pub(super) fn outer(&self, range: Range<usize>) -> Range<usize> {
        let at = |index: usize| {
            let place = self.origin.get(index).or(self.origin.last()).copied().unwrap_or(0);
            usize::try_from(place).unwrap_or(0)
        };
        at(range.start)..at(range.end).max(at(range.start))
    }

    /// A part of it.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let origin = self.origin.get(range.start..=range.start + text.len()).unwrap_or_default();
        Self { text: Zeroizing::new(text.to_owned()), origin: origin.to_vec() }
    }

    /// Takes JSON's escapes away (RFC 8259 §7); one that is none stays as it is.
    pub(super) fn unescape(&self) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut origin = Vec::with_capacity(self.origin.len());
        let mut rest = self.text.char_indices();
        while let Some((index, c)) = rest.next() {
            let decoded = match c {
                '\\' => match escape(rest.as_str()) {
                    Some((decoded, used)) => {
                        for _ in 0..used {
                            rest.next();
                        }
                        decoded
                    }
                    None => c,
                },
                _ => c,
            };
            text.push(decoded);
            let from = self.origin.get(index).copied().unwrap_or(0);
            origin.resize(text.len(), from);
        }
        origin.push(self.origin.last().copied().unwrap_or(0));
        Self { text: Zeroizing::new(text), origin }
    }
}

/// Inputs are far smaller than 4 GiB: `import` refuses others.
fn offset(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// What the escape whose backslash was just read stands for, and how many characters it takes.
fn escape(rest: &str) -> Option<(char, usize)> {
    Some(match rest.chars().next()? {
        'n' => ('\n', 1),
        'r' => ('\r', 1),
        't' => ('\t', 1),
        'b' => ('\u{8}', 1),
        'f' => ('\u{c}', 1),
        c @ ('"' | '\\' | '/') => (c, 1),
        'u' => {
            let high = hex(rest.get(1..5)?)?;
            if let Some(c) = char::from_u32(high) {
                return Some((c, 5));
            }
            // A surrogate pair; anything else is no character.
            let low = rest.get(5..11).and_then(|pair| pair.strip_prefix("\\u")).and_then(hex);
            match low {
                Some(low @ 0xdc00..=0xdfff) if high < 0xdc00 => {
                    let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11)
                }
                _ => (char::REPLACEMENT_CHARACTER, 5),
            }
        }
        _ => return None,
    })
}

fn hex(digits: &str) -> Option<u32> {
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_two_layers_of_escapes() {
        let file = r#"xx"<a>\\n\u003cb\u003e\ud83d\ude00 end""#;
        let source = Source::piece(file, 3..file.len() - 1).unescape();
        assert_eq!(source.text(), "<a>\\n<b>\u{1f600} end");
        let twice = source.unescape();
        assert_eq!(twice.text(), "<a>\n<b>\u{1f600} end");
        let at = twice.text().find("end").unwrap();
        assert_eq!(&file[twice.outer(at..at + 3)], "end");
        let at = twice.text().find('b').unwrap();
        assert_eq!(&file[twice.outer(at..at + 1)], "b");
        assert_eq!(twice.outer(999..1000).start, file.len() - 1);
    }

    #[test]
    fn broken_escapes_stay() {
        for text in ["\\", "\\u12", "\\x", "\\ud800", "a\\ud800\\u0041"] {
            let _ = Source::piece(text, 0..text.len()).unescape();
        }
        assert_eq!(Source::piece("a\\q", 0..3).unescape().text(), "a\\q");
    }
}
