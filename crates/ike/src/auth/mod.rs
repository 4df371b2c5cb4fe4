//! Who the peer is: identities and the AUTH payload.
//!
//! Turns configured identities into ID payloads and back and compares them exactly (RFC 7296 §3.5: type and
//! octets). The methods themselves are below; today that is the pre-shared key.

pub(crate) mod psk;

use crate::config::Identity;
use crate::wire::{IdType, Identification};

/// The ID payload for an identity.
pub(crate) fn identification(identity: &Identity) -> Identification {
    let (kind, data) = match identity {
        Identity::Ipv4(address) => (IdType::ID_IPV4_ADDR, address.octets().to_vec()),
        Identity::Ipv6(address) => (IdType::ID_IPV6_ADDR, address.octets().to_vec()),
        Identity::Fqdn(name) => (IdType::ID_FQDN, name.clone().into_bytes()),
        Identity::Email(name) => (IdType::ID_RFC822_ADDR, name.clone().into_bytes()),
        Identity::KeyId(octets) => (IdType::ID_KEY_ID, octets.clone()),
        Identity::DerDn(octets) => (IdType::ID_DER_ASN1_DN, octets.clone()),
        Identity::Other(kind, octets) => (IdType(*kind), octets.clone()),
    };
    Identification::new(kind, data)
}

/// The identity in an ID payload, for reports.
pub(crate) fn identity(id: &Identification) -> Identity {
    let text = || String::from_utf8_lossy(&id.data).into_owned();
    match id.kind {
        IdType::ID_IPV4_ADDR => match <[u8; 4]>::try_from(id.data.as_slice()) {
            Ok(octets) => Identity::Ipv4(octets.into()),
            Err(_) => Identity::Other(id.kind.0, id.data.clone()),
        },
        IdType::ID_IPV6_ADDR => match <[u8; 16]>::try_from(id.data.as_slice()) {
            Ok(octets) => Identity::Ipv6(octets.into()),
            Err(_) => Identity::Other(id.kind.0, id.data.clone()),
        },
        IdType::ID_FQDN => Identity::Fqdn(text()),
        IdType::ID_RFC822_ADDR => Identity::Email(text()),
        IdType::ID_KEY_ID => Identity::KeyId(id.data.clone()),
        IdType::ID_DER_ASN1_DN => Identity::DerDn(id.data.clone()),
        other => Identity::Other(other.0, id.data.clone()),
    }
}

/// Whether the peer is who it must be. CVE-2013-6075: exact type, exact octets, exact length.
pub(crate) fn is_expected(expected: &Identity, got: &Identification) -> bool {
    identification(expected) == *got
}
