//! How a tunnel authenticates, from the configuration to the negotiator: files are read here, and judged once.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use config::{Authentication, CertificateFiles, KeyError, PrivateKey, RsaPadding};
use ike::Credentials;
use ike::certificate::{
    Certificates, Credential, DistinguishedName, Facts, InvalidName, Padding, Trust, UnusableCertificate,
    WallClock, date,
};
use model::Instant;

/// Why a tunnel has nothing to authenticate by.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file or credential is missing or may be read by others.
    #[error("{tunnel}: {error}")]
    Key {
        /// The tunnel.
        tunnel: String,
        /// What is wrong.
        error: KeyError,
    },
    /// What is in it cannot be used.
    #[error("{tunnel}: {place}: {error}")]
    Unusable {
        /// The tunnel.
        tunnel: String,
        /// The file.
        place: String,
        /// What is wrong.
        error: UnusableCertificate,
    },
    /// An identity is no distinguished name.
    #[error("{tunnel}: {key} \"{text}\": {error}")]
    Name {
        /// The tunnel.
        tunnel: String,
        /// `local_id` or `remote_id`.
        key: &'static str,
        /// As written.
        text: String,
        /// What is wrong.
        error: InvalidName,
    },
}

impl CredentialError {
    /// Only the daemon could read what is missing: systemd shows a credential to it alone.
    pub fn is_for_the_daemon_only(&self) -> bool {
        matches!(self, Self::Key { error: KeyError::NoCredentials { .. }, .. })
    }
}

/// Seconds since 1970 by the system's clock.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a tunnel proves itself by, and mixes into its keys.
#[derive(Clone, Debug)]
pub struct Proof {
    /// A pre-shared key, or certificates.
    pub credentials: Credentials,
    /// A post-quantum pre-shared key beside them (RFC 8784).
    pub ppk: Option<ike::Ppk>,
}

impl Proof {
    /// Reads it; `directory` is the value of `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// As [`credentials`].
    pub fn read(
        connection: &config::Connection,
        tunnel: &config::Tunnel,
        directory: Option<&Path>,
        now: Instant,
    ) -> Result<Self, CredentialError> {
        let credentials = credentials(connection, tunnel, directory, now)?;
        Ok(Self { credentials, ppk: ppk(connection, tunnel, directory)? })
    }

    /// Whether both prove the same in the same way.
    pub fn same(&self, other: &Self) -> bool {
        let ppks = match (&self.ppk, &other.ppk) {
            (Some(a), Some(b)) => {
                a.id == b.id && a.key.expose() == b.key.expose() && a.required == b.required
            }
            (a, b) => a.is_none() && b.is_none(),
        };
        ppks && match (&self.credentials, &other.credentials) {
            (Credentials::Psk(a), Credentials::Psk(b)) => a.expose() == b.expose(),
            (Credentials::Certificates(a), Credentials::Certificates(b)) => {
                a.credential.same(&b.credential) && a.trust.same(&b.trust) && a.padding == b.padding
            }
            _ => false,
        }
    }
}

/// Reads the tunnel's post-quantum pre-shared key, if it has one.
///
/// # Errors
/// When it cannot be fetched, or is none.
pub fn ppk(
    connection: &config::Connection,
    tunnel: &config::Tunnel,
    directory: Option<&Path>,
) -> Result<Option<ike::Ppk>, CredentialError> {
    let Some(ppk) = &tunnel.ppk else { return Ok(None) };
    let name = || format!("{} {}", connection.id, tunnel.name);
    let key = ppk.fetch(directory).map_err(|error| CredentialError::Key { tunnel: name(), error })?;
    Ok(Some(ike::Ppk { id: ppk.id.clone().into_bytes(), key, required: ppk.required }))
}

/// Reads what the tunnel authenticates by; `directory` is the value of `$CREDENTIALS_DIRECTORY`.
///
/// # Errors
/// What cannot be used, and what to do about it.
pub fn credentials(
    connection: &config::Connection,
    tunnel: &config::Tunnel,
    directory: Option<&Path>,
    now: Instant,
) -> Result<Credentials, CredentialError> {
    let name = || format!("{} {}", connection.id, tunnel.name);
    let key = |error| CredentialError::Key { tunnel: name(), error };
    match &tunnel.authentication {
        Authentication::Psk(source) => {
            source.fetch(connection.peer, directory).map(Credentials::Psk).map_err(key)
        }
        Authentication::Certificates(files) => {
            names(tunnel, &name())?;
            let contents = files.fetch(directory).map_err(key)?;
            let unusable = |place: &Path| {
                let place = place.display().to_string();
                move |error| CredentialError::Unusable { tunnel: name(), place, error }
            };
            let credential = Credential::read(&contents.certificate, &contents.private_key)
                .map_err(|error| unusable(blamed(files, &error))(error))?;
            let ours = super::ike_config::local_identity(tunnel, Some(&credential));
            credential.check_identity(&ours).map_err(unusable(&files.certificate))?;
            let trust = Trust::read(&contents.ca, &[]).map_err(unusable(&files.ca)).and_then(|_| {
                let place = files.crl.first().unwrap_or(&files.ca);
                Trust::read(&contents.ca, &contents.crl).map_err(unusable(place))
            })?;
            Ok(Credentials::Certificates(Box::new(Certificates {
                credential: Arc::new(credential),
                trust: Arc::new(trust),
                padding: match files.rsa_padding {
                    RsaPadding::Pkcs1 => Padding::Pkcs1,
                    RsaPadding::Pss => Padding::Pss,
                },
                clock: WallClock { at: now, unix_seconds: unix_seconds() },
            })))
        }
    }
}

/// The file that an error is about.
fn blamed<'f>(files: &'f CertificateFiles, error: &UnusableCertificate) -> &'f Path {
    let about_the_key = matches!(
        error,
        UnusableCertificate::Encrypted
            | UnusableCertificate::Mismatch { .. }
            | UnusableCertificate::Nothing("private key")
            | UnusableCertificate::Malformed { what: "the private key" }
    );
    match &files.private_key {
        PrivateKey::File(path) if about_the_key => path,
        _ => &files.certificate,
    }
}

fn names(tunnel: &config::Tunnel, name: &str) -> Result<(), CredentialError> {
    for (key, identity) in [("local_id", &tunnel.local_id), ("remote_id", &tunnel.remote_id)] {
        if let config::Identity::Name(text) = identity
            && let Err(error) = DistinguishedName::parse(text)
        {
            let (tunnel, text) = (name.to_owned(), text.clone());
            return Err(CredentialError::Name { tunnel, key, text, error });
        }
    }
    Ok(())
}

/// Something that ends: what it is, and its last second since 1970.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct End {
    /// In words.
    pub what: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// Everything of ours that ends one day: certificates, CAs, revocation lists.
pub fn ends(certificates: &Certificates) -> Vec<End> {
    let of = |what: &str, facts: &Facts| End {
        what: format!("{what} \"{}\"", facts.subject),
        at: facts.validity.not_after,
    };
    let mut ends = Vec::new();
    for (index, facts) in certificates.credential.facts().iter().enumerate() {
        ends.push(of(if index == 0 { "our certificate" } else { "our intermediate" }, facts));
    }
    ends.extend(certificates.trust.authorities().iter().map(|facts| of("the CA", facts)));
    let lists = certificates.trust.next_updates().iter();
    ends.extend(lists.map(|(issuer, at)| End { what: format!("the CRL of \"{issuer}\""), at: *at }));
    ends
}

/// `expires on DATE, in N days`, or that it has.
pub fn when(end: &End, now: u64) -> String {
    match end.at.checked_sub(now) {
        Some(left) => format!("{} ends on {}, in {} days", end.what, date(end.at), left / DAY),
        None => format!("{} ended on {}", end.what, date(end.at)),
    }
}

/// Seconds in a day.
pub const DAY: u64 = 86_400;
