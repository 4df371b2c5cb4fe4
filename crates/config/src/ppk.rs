//! A post-quantum pre-shared key (RFC 8784): what it is called, where it is kept, how it is written.

use std::path::Path;

use model::Secret;
use zeroize::{Zeroize as _, Zeroizing};

use crate::files::read;
use crate::key::{KeyError, KeySource};

/// Fewest octets that are taken at all; with fewer the key is a password.
pub const MIN_PPK_OCTETS: usize = 16;
/// Octets from which on nothing is warned of (RFC 8784 §6: 256 bits of entropy, 128 against a quantum computer).
pub(crate) const STRONG_PPK_OCTETS: usize = 32;
/// Most octets.
pub const MAX_PPK_OCTETS: usize = 256;
/// Longest name, octets.
pub(crate) const MAX_PPK_ID: usize = 64;

/// `ppk_id` and its kin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ppk {
    /// What both sides call the key; 1 to 64 printable ASCII characters.
    pub id: String,
    /// Where it is kept.
    pub source: KeySource,
    /// Whether the tunnel may not do without it.
    pub required: bool,
}

impl Ppk {
    /// Fetches the key; `credentials` is the value of `$CREDENTIALS_DIRECTORY`, when systemd set it.
    ///
    /// A final line end in a file is not part of the key; other white space is an error, never dropped.
    ///
    /// # Errors
    /// When the file or credential is missing, unreadable, or holds no key.
    pub fn fetch(&self, credentials: Option<&Path>) -> Result<Secret, KeyError> {
        match &self.source {
            KeySource::Inline(secret) => Ok(secret.clone()),
            KeySource::File(path) => from_file(path, path.display().to_string()),
            KeySource::Credential(name) => match credentials {
                Some(directory) => from_file(&directory.join(name), format!("credential `{name}`")),
                None => Err(KeyError::NoCredentials { name: name.clone(), instead: "ppk_file" }),
            },
        }
    }
}

fn from_file(path: &Path, origin: String) -> Result<Secret, KeyError> {
    let bytes =
        read(path).map_err(|error| KeyError::File { key: "ppk_file", path: path.to_owned(), error })?;
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| KeyError::Ppk { origin: origin.clone(), error: InvalidPpk::Text })?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    parse_ppk(text).map_err(|error| KeyError::Ppk { origin, error })
}

/// Why a text is no post-quantum pre-shared key. Says nothing of the key but its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidPpk {
    /// White space or a control character in front, inside, or behind.
    #[error(
        "the PPK holds white space or something that is no printable ASCII character; write it as `0x` and hexadecimal digits, or in Base64"
    )]
    Text,
    /// `0x` and something else than pairs of hexadecimal digits.
    #[error(
        "the PPK begins with `0x`, but pairs of hexadecimal digits do not follow; correct it, or take one that begins otherwise"
    )]
    Hexadecimal,
    /// `0s`: the way in which strongSwan marks Base64.
    #[error(
        "the PPK begins with `0s`, strongSwan's mark for Base64, which is not read here; write the same octets as `0x` and hexadecimal digits on both sides"
    )]
    Base64,
    /// Too short or too long.
    #[error(
        "the PPK has {found} octets, and {MIN_PPK_OCTETS} to {MAX_PPK_OCTETS} are taken; make one with `openssl rand -hex 32`, `0x` in front"
    )]
    Length {
        /// Octets found.
        found: usize,
    },
}

/// Reads a key as it is written: `0x` and hexadecimal digits, or else the octets of the text itself.
///
/// # Errors
/// What is wrong with it.
pub fn parse_ppk(text: &str) -> Result<Secret, InvalidPpk> {
    if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(InvalidPpk::Text);
    }
    if text.starts_with("0s") {
        return Err(InvalidPpk::Base64);
    }
    let mut octets = match text.strip_prefix("0x") {
        Some(digits) => hexadecimal(digits).ok_or(InvalidPpk::Hexadecimal)?,
        None => text.as_bytes().to_vec(),
    };
    let found = octets.len();
    if !(MIN_PPK_OCTETS..=MAX_PPK_OCTETS).contains(&found) {
        octets.zeroize();
        return Err(InvalidPpk::Length { found });
    }
    Ok(Secret::new(octets))
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    // In one piece: growing would leave copies behind.
    let mut octets = Vec::with_capacity(digits.len() / 2);
    for pair in digits.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).ok()?;
        // `from_str_radix` takes a sign.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            octets.zeroize();
            return None;
        }
        octets.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(octets)
}
