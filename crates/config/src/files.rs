//! The only file access of this crate: the configuration file, and files that hold a key.

use std::path::Path;

use model::Secret;
use zeroize::Zeroizing;

use crate::key::{KeyError, KeySource, check_key};
use crate::{Config, Diagnostic, Peer, Report, parse};

/// Largest file that is read, octets; a file of a thousand connections has a tenth of it.
const MAX_FILE: u64 = 16 << 20;

/// Permission bits that let somebody else read.
const OTHERS_READ: u32 = 0o044;

/// A configuration that can be run, and what somebody should look at.
#[derive(Debug)]
pub struct Loaded {
    /// The validated values.
    pub config: Config,
    /// Warnings only; often empty. Print them with [`Report::render`].
    pub warnings: Report,
}

/// Reads and validates the file at `path`; a file with keys in it that others can read is a warning.
///
/// # Errors
/// Everything that is wrong with it, all at once where possible; also when it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    let name = path.display().to_string();
    let bytes = match read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) => return Err(Report::of(&name, "", unreadable(&error))),
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        let remedy = "save the file as UTF-8";
        return Err(Report::of(
            &name,
            "",
            Diagnostic::error("CFG-ENCODING", "the file is not UTF-8", remedy),
        ));
    };
    let mut loaded = parse(text, &name)?;
    if let Some(warning) = mode_warning(path, &loaded.config) {
        loaded.warnings.push(warning);
    }
    Ok(loaded)
}

pub(crate) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(std::io::Error::other(format!("{size} octets are too many for a configuration file")));
    }
    std::fs::read(path)
}

fn unreadable(error: &std::io::Error) -> Diagnostic {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "write it with `cgwd import FILE --lan CIDR --output /etc/cgwd/cgwd.toml`, or name another with --config"
        }
        std::io::ErrorKind::PermissionDenied => "run as root, or as the user that owns the file",
        _ => "check the path given with --config",
    };
    Diagnostic::error("CFG-READ", format!("cannot read the configuration: {error}"), remedy)
}

/// A warning when others can read the file at `path` although it holds pre-shared keys.
pub fn mode_warning(path: &Path, config: &Config) -> Option<Diagnostic> {
    let inline = config.tunnels().any(|(_, tunnel)| {
        let sources = [tunnel.psk(), tunnel.ppk.as_ref().map(|ppk| &ppk.source)];
        sources.into_iter().flatten().any(|source| matches!(source, KeySource::Inline(_)))
    });
    let mode = mode(path)?;
    if !inline || mode & OTHERS_READ == 0 {
        return None;
    }
    let what = format!("the file holds pre-shared keys and others can read it (mode {:04o})", mode & 0o7777);
    Some(Diagnostic::warning("CFG-MODE", what, format!("run `chmod 600 {}`", path.display())))
}

#[cfg(unix)]
pub(crate) fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).ok().map(|meta| meta.permissions().mode())
}

#[cfg(not(unix))]
pub(crate) fn mode(_: &Path) -> Option<u32> {
    None
}

impl KeySource {
    /// [`KeySource::fetch`] with systemd's `$CREDENTIALS_DIRECTORY`, and no grammar but that no white space frames
    /// the key.
    ///
    /// # Errors
    /// When the file or credential is missing, unreadable, or holds no key.
    pub fn load(&self) -> Result<Secret, KeyError> {
        let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
        self.fetch(Peer::Other, directory.as_ref().map(Path::new))
    }

    /// Fetches the key; `peer` says which grammar it must follow, `credentials` is the value of `$CREDENTIALS_DIRECTORY`, when systemd set it.
    ///
    /// A final line end in a file is not part of the key; other white space is an error, never dropped.
    ///
    /// # Errors
    /// When the file or credential is missing, unreadable, or holds no key.
    pub fn fetch(&self, peer: Peer, credentials: Option<&Path>) -> Result<Secret, KeyError> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => from_file(path, peer, path.display().to_string()),
            Self::Credential(name) => match credentials {
                Some(directory) => from_file(&directory.join(name), peer, format!("credential `{name}`")),
                None => Err(KeyError::NoCredentials { name: name.clone(), instead: "psk_file" }),
            },
        }
    }
}

fn from_file(path: &Path, peer: Peer, origin: String) -> Result<Secret, KeyError> {
    let bytes = read(path).map_err(|error| KeyError::Read { path: path.to_owned(), error })?;
    let bytes = Zeroizing::new(bytes);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    check_key(text, peer).map_err(|error| KeyError::Invalid { origin, error })?;
    Ok(Secret::from(text.as_bytes()))
}
