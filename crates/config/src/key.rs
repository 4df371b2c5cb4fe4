//! Where a pre-shared key comes from, and AWS's grammar for it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use model::Secret;

use crate::Peer;

/// Fewest characters AWS allows in a pre-shared key.
pub const MIN_KEY_CHARS: usize = 8;
/// Most characters AWS allows in a pre-shared key.
pub const MAX_KEY_CHARS: usize = 64;
/// Fewest characters of a key that nobody guesses, and how many different ones it has.
const STRONG_KEY_CHARS: usize = 12;
/// See [`STRONG_KEY_CHARS`].
const STRONG_KEY_DISTINCT: usize = 6;
/// Longest key for a peer other than AWS, octets.
const MAX_OTHER_KEY: usize = 256;

/// Where the pre-shared key of one tunnel is kept.
#[derive(Clone)]
pub enum KeySource {
    /// In the configuration file itself (`psk`).
    Inline(Secret),
    /// In a file of its own (`psk_file`); one line, a final newline is not part of the key.
    File(PathBuf),
    /// In a systemd credential (`psk_credential`): a file of that name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Two inline keys are equal when their octets are; used to see what a reload changes.
impl PartialEq for KeySource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(a), Self::Inline(b)) => a.expose() == b.expose(),
            (Self::File(a), Self::File(b)) => a == b,
            (Self::Credential(a), Self::Credential(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for KeySource {}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(..)"),
            Self::File(path) => write!(f, "File({path:?})"),
            Self::Credential(name) => write!(f, "Credential({name:?})"),
        }
    }
}

/// Why a text is no pre-shared key for AWS (EC2 API, `VpnTunnelOptionsSpecification.PreSharedKey`).
///
/// It names at most the one character at fault, never the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidKey {
    /// White space before the key, or after it; the usual copy-and-paste slip.
    #[error("the key {} white space, which would be part of it", if *.leading { "starts with" } else { "ends in" })]
    Whitespace {
        /// At the start rather than at the end.
        leading: bool,
    },
    /// A character outside `[A-Za-z0-9._]`.
    #[error("character {position} of the key is {}", name_of(*.found))]
    Character {
        /// Counted from 1.
        position: usize,
        /// The character.
        found: char,
    },
    /// Shorter than 8 or longer than 64 characters.
    #[error("the key has {found} characters")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// AWS refuses a leading zero.
    #[error("the key starts with 0")]
    LeadingZero,
}

/// A character in words where it would not show.
fn name_of(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' | '\r' => "a line break".to_owned(),
        c => format!("{c:?}"),
    }
}

impl InvalidKey {
    /// What AWS allows, for the cause line of a message.
    pub const RULE: &'static str =
        "AWS allows 8 to 64 letters, digits, `.` and `_` in a pre-shared key, not starting with 0";

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Whitespace { .. } => "remove the white space",
            Self::Character { .. } | Self::Length { .. } | Self::LeadingZero => {
                "copy the key again from the AWS download, without quotes or line breaks"
            }
        }
    }
}

/// Checks `key` against AWS's grammar, or for other peers that it is neither empty nor framed by white space.
///
/// # Errors
/// The first rule that it breaks; outer white space is named before anything else.
pub fn check_key(key: &str, peer: Peer) -> Result<(), InvalidKey> {
    if key.starts_with(char::is_whitespace) && !key.trim().is_empty() {
        return Err(InvalidKey::Whitespace { leading: true });
    }
    if key.ends_with(char::is_whitespace) && !key.trim().is_empty() {
        return Err(InvalidKey::Whitespace { leading: false });
    }
    if peer == Peer::Other {
        let fits = (1..=MAX_OTHER_KEY).contains(&key.len());
        return if fits { Ok(()) } else { Err(InvalidKey::Length { found: key.chars().count() }) };
    }
    let odd = |c: &(usize, char)| !(c.1.is_ascii_alphanumeric() || c.1 == '.' || c.1 == '_');
    if let Some((index, found)) = key.chars().enumerate().find(odd) {
        return Err(InvalidKey::Character { position: index + 1, found });
    }
    if !(MIN_KEY_CHARS..=MAX_KEY_CHARS).contains(&key.len()) {
        return Err(InvalidKey::Length { found: key.len() });
    }
    if key.starts_with('0') {
        return Err(InvalidKey::LeadingZero);
    }
    Ok(())
}

/// Whether `key` may be guessed: who poses as AWS once can try keys at leisure against what he heard (RFC 7296
/// §2.15). AWS's own keys have 32 characters; 12 random ones are worth some 70 bits, made-up ones far less.
pub(crate) fn is_weak_key(key: &str) -> bool {
    let distinct: BTreeSet<char> = key.chars().collect();
    key.chars().count() < STRONG_KEY_CHARS || distinct.len() < STRONG_KEY_DISTINCT
}

/// Why a key could not be fetched from its file or credential.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is missing or cannot be read.
    #[error("cannot read the pre-shared key from {path}: {error}; create it with mode 0600, the key on one line; the service's own user cannot read what is root's, there use `psk_credential`", path = path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A credential is named but systemd passed none.
    #[error(
        "the credential `{name}` was asked for, but $CREDENTIALS_DIRECTORY is not set; start through systemd with \
         `LoadCredential={name}:/path/to/file`, or use `{instead}`"
    )]
    NoCredentials {
        /// The credential's name.
        name: String,
        /// The key that names a file instead.
        instead: &'static str,
    },
    /// A file that certificates need is missing or cannot be read.
    #[error("cannot read `{key}` from {path}: {error}; put the file there, readable by the daemon's user", path = path.display())]
    File {
        /// The key in the configuration.
        key: &'static str,
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Others may read the private key.
    #[error("others may read the private key in {path} (mode {mode:04o}); run `chmod 600 {path}`", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is no post-quantum pre-shared key.
    #[error("{origin}: {error}")]
    Ppk {
        /// The file or credential.
        origin: String,
        /// The broken rule.
        error: crate::InvalidPpk,
    },
    /// The content is no key.
    #[error("{origin}: {error}; {rule}: {remedy}", rule = InvalidKey::RULE, remedy = error.remedy())]
    Invalid {
        /// The file or credential.
        origin: String,
        /// The broken rule.
        error: InvalidKey,
    },
}
