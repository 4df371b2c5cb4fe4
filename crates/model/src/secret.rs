//! Key material that wipes itself and prints nothing.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: wiped on drop, compared nowhere, printed as their length only.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of `bytes`; the buffer is wiped when the value is dropped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. The name is meant to stand out in a review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no octets at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

/// Keys of one direction of a child SA, cut from KEYMAT in the order of RFC 7296 §2.17.
#[derive(Clone, Debug)]
pub struct EspKeys {
    /// Encryption key; for AES-GCM followed by the four octets of salt (RFC 4106 §8.1).
    pub encryption: Secret,
    /// Integrity key; empty for AEAD transforms.
    pub integrity: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_octet() {
        let keys = EspKeys { encryption: Secret::from(&b"top"[..]), integrity: Secret::new(Vec::new()) };
        assert_eq!(
            format!("{keys:?}"),
            "EspKeys { encryption: Secret(3 octets), integrity: Secret(0 octets) }"
        );
    }
}
