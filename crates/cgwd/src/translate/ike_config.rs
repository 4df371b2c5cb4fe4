//! `config::Tunnel` to `ike::Config`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::certificates::Proof;
use config::{EncryptionAlgorithm, IntegrityAlgorithm};
use ike::certificate::{Credential, DistinguishedName};
use ike::crypto::{IkeCipher, Integrity, Prf};
use ike::wire::DhGroup;
use ike::{EarlyRekey, EspCipher, EspProposal, IkeProposal, Lifetime, Liveness};
use model::{EspIntegrity, EspTransform, KeyBits, Secret};

/// IKE's port (RFC 7296 §2).
pub const PORT_IKE: u16 = 500;
/// The port of IKE and ESP behind NAT (RFC 3948).
pub const PORT_NAT_T: u16 = 4500;

/// The negotiator's view of a tunnel that sends from `local` and proves itself by `proof`.
pub fn ike_config(tunnel: &config::Tunnel, local: IpAddr, proof: Proof) -> ike::Config {
    let Proof { credentials, ppk } = proof;
    let ours = credentials.certificates().map(|certificates| &*certificates.credential);
    ike::Config {
        local: SocketAddr::new(local, PORT_IKE),
        local_nat_t_port: PORT_NAT_T,
        local_identity: local_identity(tunnel, ours),
        remote_identity: identity(&tunnel.remote_id, None),
        ike_proposals: ike_proposals(&tunnel.ike),
        esp_proposals: esp_proposals(&tunnel.esp),
        ts_local: tunnel.ts_local.clone(),
        ts_remote: tunnel.ts_remote.clone(),
        force_udp_encapsulation: tunnel.encapsulation == config::Encapsulation::Udp,
        startup: match tunnel.startup {
            config::Startup::Initiate => ike::Startup::Initiate,
            config::Startup::Respond => ike::Startup::Respond,
        },
        ike_lifetime: lifetime(tunnel.ike_rekey()),
        child_lifetime: lifetime(tunnel.esp_rekey()),
        early_rekey: Some(EARLY_REKEY),
        liveness: liveness(tunnel.dpd_timeout),
        fragment_size: Some(tunnel.ike.fragment_size.min(tunnel.path_mtu)),
        credentials,
        ppk,
        ..ike::Config::new(local, tunnel.outside, Secret::new(Vec::new()))
    }
}

/// Who we say we are.
pub(super) fn local_identity(tunnel: &config::Tunnel, ours: Option<&Credential>) -> ike::Identity {
    // What is written in another order than it stands in the certificate is still the certificate's subject.
    let subject = ours.map(Credential::subject);
    match (identity(&tunnel.local_id, ours), subject) {
        (ike::Identity::DerDn(written), Some(ike::Identity::DerDn(subject))) => {
            let names = (DistinguishedName::from_der(&written), DistinguishedName::from_der(&subject));
            match names {
                (Some(a), Some(b)) if a.matches(&b) => ike::Identity::DerDn(subject),
                _ => ike::Identity::DerDn(written),
            }
        }
        (identity, _) => identity,
    }
}

/// The identity of an ID payload.
fn identity(identity: &config::Identity, ours: Option<&Credential>) -> ike::Identity {
    match identity {
        config::Identity::Address(address) => ike::Identity::from(*address),
        config::Identity::Fqdn(name) => ike::Identity::Fqdn(name.clone()),
        config::Identity::Email(name) => ike::Identity::Email(name.clone()),
        // A name that cannot be read was refused with the credentials.
        config::Identity::Name(text) => {
            ike::Identity::DerDn(DistinguishedName::parse(text).map(|name| name.to_der()).unwrap_or_default())
        }
        config::Identity::Subject => {
            ours.map_or_else(|| ike::Identity::DerDn(Vec::new()), Credential::subject)
        }
    }
}

/// `config` gives the beginning of the window, `ike` wants its end.
fn lifetime(window: config::RekeyWindow) -> Lifetime {
    Lifetime { rekey_after: window.rekey_after + window.jitter, jitter: window.jitter, hard: window.hard }
}

/// The first child's rekey in its third minute shows a wrong PFS group while somebody still looks.
const EARLY_REKEY: EarlyRekey =
    EarlyRekey { after: Duration::from_secs(120), jitter: Duration::from_secs(60) };

/// A question after 10 s of silence as AWS does it, sooner when little time is left for the answers.
fn liveness(dpd_timeout: Duration) -> Liveness {
    let usual = Liveness::default();
    Liveness { idle: usual.idle.min(dpd_timeout / 3), ..usual }
}

/// One proposal for AEAD ciphers, and one for each hash beside CBC, in the order of the configuration.
///
/// AEAD and other ciphers do not mix in one proposal (RFC 5282 §8). AWS wants the PRF's hash to be the integrity
/// algorithm's, so hashes beside CBC do not mix either.
fn ike_proposals(ike: &config::Ike) -> Vec<IkeProposal> {
    let groups: Vec<DhGroup> = ike.dh_groups.iter().map(|group| DhGroup(group.number())).collect();
    let (aead, cbc) = split(&ike.encryption);
    let with_aead = (!aead.is_empty()).then(|| IkeProposal {
        encryption: aead.iter().map(|cipher| ike_cipher(*cipher)).collect(),
        prf: ike.integrity.iter().map(|hash| prf(*hash)).collect(),
        integrity: Vec::new(),
        groups: groups.clone(),
        additional: Vec::new(),
    });
    let with_cbc: Vec<IkeProposal> = if cbc.is_empty() {
        Vec::new()
    } else {
        ike.integrity
            .iter()
            .map(|hash| IkeProposal {
                encryption: cbc.iter().map(|cipher| ike_cipher(*cipher)).collect(),
                prf: vec![prf(*hash)],
                integrity: vec![ike_integrity(*hash)],
                groups: groups.clone(),
                additional: Vec::new(),
            })
            .collect()
    };
    let classic = in_order(&ike.encryption, with_aead, with_cbc);
    hybrid(&ike.additional, classic, |proposal| &mut proposal.additional)
}

fn esp_proposals(esp: &config::Esp) -> Vec<EspProposal> {
    let groups: Vec<DhGroup> = esp.dh_groups.iter().map(|group| DhGroup(group.number())).collect();
    let (aead, cbc) = split(&esp.encryption);
    let proposal = |ciphers: Vec<EncryptionAlgorithm>, integrity| EspProposal {
        encryption: ciphers.into_iter().map(esp_cipher).collect(),
        integrity,
        groups: groups.clone(),
        additional: Vec::new(),
        esn: esp.esn.offers().to_vec(),
    };
    let with_aead = (!aead.is_empty()).then(|| proposal(aead, Vec::new()));
    let with_cbc = (!cbc.is_empty())
        .then(|| proposal(cbc, esp.integrity.iter().map(|hash| esp_integrity(*hash)).collect()));
    let classic = in_order(&esp.encryption, with_aead, with_cbc.into_iter().collect());
    hybrid(&esp.additional, classic, |proposal| &mut proposal.additional)
}

/// The same proposals with the additional key exchanges; before those without, where a peer may have none.
fn hybrid<T: Clone>(
    additional: &config::Additional,
    classic: Vec<T>,
    field: impl Fn(&mut T) -> &mut Vec<DhGroup>,
) -> Vec<T> {
    if additional.methods.is_empty() {
        return classic;
    }
    let mut hybrid = classic.clone();
    for proposal in &mut hybrid {
        *field(proposal) = additional.methods.iter().map(|kem| DhGroup(kem.number())).collect();
    }
    if additional.optional {
        hybrid.extend(classic);
    }
    hybrid
}

/// Every way in which a packet of this tunnel may end up protected.
pub fn esp_transforms(esp: &config::Esp) -> Vec<EspTransform> {
    let integrity = esp.integrity.iter().map(|hash| Some(esp_integrity(*hash)));
    let integrity: Vec<_> = std::iter::once(None).chain(integrity).collect();
    esp.encryption
        .iter()
        .flat_map(|cipher| integrity.iter().filter_map(|hash| esp_cipher(*cipher).with_integrity(*hash)))
        .collect()
}

fn split(ciphers: &[EncryptionAlgorithm]) -> (Vec<EncryptionAlgorithm>, Vec<EncryptionAlgorithm>) {
    ciphers.iter().copied().partition(|cipher| cipher.is_aead())
}

fn in_order<T>(ciphers: &[EncryptionAlgorithm], aead: Option<T>, cbc: Vec<T>) -> Vec<T> {
    if ciphers.first().is_some_and(|cipher| cipher.is_aead()) {
        aead.into_iter().chain(cbc).collect()
    } else {
        cbc.into_iter().chain(aead).collect()
    }
}

fn ike_cipher(cipher: EncryptionAlgorithm) -> IkeCipher {
    match cipher {
        EncryptionAlgorithm::Aes128 => IkeCipher::AesCbc(KeyBits::B128),
        EncryptionAlgorithm::Aes256 => IkeCipher::AesCbc(KeyBits::B256),
        EncryptionAlgorithm::Aes128Gcm16 => IkeCipher::AesGcm16(KeyBits::B128),
        EncryptionAlgorithm::Aes256Gcm16 => IkeCipher::AesGcm16(KeyBits::B256),
    }
}

fn esp_cipher(cipher: EncryptionAlgorithm) -> EspCipher {
    match cipher {
        EncryptionAlgorithm::Aes128 => EspCipher::AesCbc(KeyBits::B128),
        EncryptionAlgorithm::Aes256 => EspCipher::AesCbc(KeyBits::B256),
        EncryptionAlgorithm::Aes128Gcm16 => EspCipher::AesGcm16(KeyBits::B128),
        EncryptionAlgorithm::Aes256Gcm16 => EspCipher::AesGcm16(KeyBits::B256),
    }
}

fn prf(hash: IntegrityAlgorithm) -> Prf {
    match hash {
        IntegrityAlgorithm::Sha1 => Prf::HmacSha1,
        IntegrityAlgorithm::Sha2_256 => Prf::HmacSha2_256,
        IntegrityAlgorithm::Sha2_384 => Prf::HmacSha2_384,
        IntegrityAlgorithm::Sha2_512 => Prf::HmacSha2_512,
    }
}

fn ike_integrity(hash: IntegrityAlgorithm) -> Integrity {
    match hash {
        IntegrityAlgorithm::Sha1 => Integrity::HmacSha1_96,
        IntegrityAlgorithm::Sha2_256 => Integrity::HmacSha2_256_128,
        IntegrityAlgorithm::Sha2_384 => Integrity::HmacSha2_384_192,
        IntegrityAlgorithm::Sha2_512 => Integrity::HmacSha2_512_256,
    }
}

fn esp_integrity(hash: IntegrityAlgorithm) -> EspIntegrity {
    match hash {
        IntegrityAlgorithm::Sha1 => EspIntegrity::HmacSha1_96,
        IntegrityAlgorithm::Sha2_256 => EspIntegrity::HmacSha2_256_128,
        IntegrityAlgorithm::Sha2_384 => EspIntegrity::HmacSha2_384_192,
        IntegrityAlgorithm::Sha2_512 => EspIntegrity::HmacSha2_512_256,
    }
}
