//! How a tunnel authenticates: by a pre-shared key, or by certificates in files that are named here and read here.
//!
//! The files' contents go on as octets: what is in them is judged by whoever uses them.

use std::path::{Path, PathBuf};

use model::Secret;

use crate::files::read;
use crate::key::{KeyError, KeySource};

/// Permission bits of anybody but the owner.
const OTHERS: u32 = 0o077;

/// How a tunnel authenticates, and its peer with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authentication {
    /// By the pre-shared key that is kept here.
    Psk(KeySource),
    /// By certificates (AWS Private CA).
    Certificates(CertificateFiles),
}

/// Certificates, and the key to ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// Ours, and the intermediates behind it.
    pub certificate: PathBuf,
    /// Our private key.
    pub private_key: PrivateKey,
    /// The CAs that we trust for the peer.
    pub ca: PathBuf,
    /// Revocation lists; none: nothing is asked about revocation.
    pub crl: Vec<PathBuf>,
    /// How an RSA key signs.
    pub rsa_padding: RsaPadding,
}

/// Where a private key is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PrivateKey {
    /// In a file that only its owner may read.
    File(PathBuf),
    /// In a systemd credential.
    Credential(String),
}

/// How an RSA key of ours signs (RFC 8017).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum RsaPadding {
    /// RSASSA-PKCS1-v1_5.
    #[default]
    Pkcs1,
    /// RSASSA-PSS.
    Pss,
}

/// What the files hold.
#[derive(Debug)]
pub struct CertificateContents {
    /// Ours and the intermediates.
    pub certificate: Vec<u8>,
    /// Our private key.
    pub private_key: Secret,
    /// The CAs.
    pub ca: Vec<u8>,
    /// The revocation lists.
    pub crl: Vec<Vec<u8>>,
}

impl CertificateFiles {
    /// Reads all of them; `credentials` is the value of `$CREDENTIALS_DIRECTORY`, when systemd set it.
    ///
    /// # Errors
    /// When one is missing or unreadable, or others may read the private key.
    pub fn fetch(&self, credentials: Option<&Path>) -> Result<CertificateContents, KeyError> {
        Ok(CertificateContents {
            certificate: contents("certificate", &self.certificate)?,
            private_key: self.private_key.fetch(credentials)?,
            ca: contents("ca", &self.ca)?,
            crl: self.crl.iter().map(|path| contents("crl", path)).collect::<Result<_, _>>()?,
        })
    }
}

impl PrivateKey {
    fn fetch(&self, credentials: Option<&Path>) -> Result<Secret, KeyError> {
        let path = match self {
            Self::File(path) => {
                // Whoever may read it may be us.
                match crate::files::mode(path) {
                    Some(mode) if mode & OTHERS != 0 => {
                        return Err(KeyError::Mode { path: path.clone(), mode: mode & 0o7777 });
                    }
                    _ => path.clone(),
                }
            }
            Self::Credential(name) => match credentials {
                Some(directory) => directory.join(name),
                None => return Err(KeyError::NoCredentials { name: name.clone(), instead: "private_key" }),
            },
        };
        contents("private_key", &path).map(Secret::new)
    }
}

fn contents(key: &'static str, path: &Path) -> Result<Vec<u8>, KeyError> {
    read(path).map_err(|error| KeyError::File { key, path: path.to_owned(), error })
}
