//! A small world of certificates: a root, an intermediate below it, and leaves that can be wrong in one way.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use ike::certificate::{Certificates, Credential, Padding, Trust, WallClock};
use ike::{Config, Credentials, Identity};
use model::{Instant, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// 2027-01-15 08:00:00 UTC: what the wall clocks say at the beginning.
pub const NOW: u64 = 1_800_000_000;

/// A key to issue for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    P256,
    P384,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::P256, Self::P384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// The key itself; RSA is from a fixed set, P-256 and P-384 are new each time.
    pub fn pair(self) -> KeyPair {
        KeyPair::from_pem(&pkcs8(&self.pem())).unwrap()
    }

    fn pem(self) -> String {
        match self {
            Self::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem(),
            Self::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem(),
            Self::Rsa2048 => include_str!("../vectors/keys/rsa2048.pem").to_owned(),
            Self::Rsa3072 => include_str!("../vectors/keys/rsa3072.pem").to_owned(),
            Self::Rsa4096 => include_str!("../vectors/keys/rsa4096.pem").to_owned(),
        }
    }
}

/// A certificate with its key.
pub struct Issued {
    pub pem: String,
    pub der: Vec<u8>,
    pub key: String,
}

/// A CA: its parameters are kept so that it can issue.
pub struct Authority {
    pub params: CertificateParams,
    pub key: KeyPair,
    pub pem: String,
}

impl Authority {
    pub fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A revocation list with these serial numbers.
    pub fn list(&self, revoked: &[u64]) -> Vec<u8> {
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 6, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 6, 1),
            next_update: date_time_ymd(2028, 6, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer()).unwrap().pem().unwrap().into_bytes()
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "US");
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

pub fn authority(
    common_name: &str,
    above: Option<&Authority>,
    change: impl Fn(&mut CertificateParams),
) -> Authority {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(1_000));
    change(&mut params);
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer()).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Authority { pem: certificate.pem(), params, key }
}

/// A root, and an intermediate that issues.
pub struct Pki {
    pub root: Authority,
    pub intermediate: Authority,
}

impl Pki {
    pub fn new() -> Self {
        let root = authority("Root", None, |_| {});
        let intermediate = authority("Intermediate", Some(&root), |_| {});
        Self { root, intermediate }
    }

    /// A leaf by the intermediate; `change` makes it wrong.
    pub fn leaf(&self, name: &str, kind: Kind, change: impl Fn(&mut CertificateParams)) -> Issued {
        let key = kind.pem();
        let pair = KeyPair::from_pem(&pkcs8(&key)).unwrap();
        let certificate = self.params(name, change).signed_by(&pair, &self.intermediate.issuer()).unwrap();
        Issued { pem: certificate.pem(), der: certificate.der().to_vec(), key }
    }

    /// A leaf for somebody's public key.
    pub fn leaf_for(&self, name: &str, key: &impl PublicKeyData) -> Issued {
        let certificate = self.params(name, |_| {}).signed_by(key, &self.intermediate.issuer()).unwrap();
        Issued { pem: certificate.pem(), der: certificate.der().to_vec(), key: String::new() }
    }

    fn params(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> CertificateParams {
        let mut params = named(name);
        params.serial_number = Some(SerialNumber::from(7));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![
            SanType::DnsName(name.try_into().unwrap()),
            SanType::IpAddress(
                if name == "a.example" { "192.0.2.1" } else { "198.51.100.1" }.parse().unwrap(),
            ),
            SanType::Rfc822Name(format!("ike@{name}").try_into().unwrap()),
        ];
        change(&mut params);
        params
    }

    /// What a tunnel with this leaf knows: its chain and key, and the root.
    pub fn certificates(&self, leaf: &Issued) -> Certificates {
        let chain = format!("{}{}", leaf.pem, self.intermediate.pem);
        certificates(&chain, &leaf.key, &self.root.pem, &[])
    }
}

/// rcgen reads PKCS #8 only.
fn pkcs8(key: &str) -> String {
    if !key.contains("BEGIN RSA") {
        return key.to_owned();
    }
    let (_, inner) = pem_rfc7468::decode_vec(key.trim().as_bytes()).unwrap();
    let length = |n: usize| [&[0x82][..], &u16::try_from(n).unwrap().to_be_bytes()].concat();
    let head = b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let octets = [&[0x04][..], &length(inner.len()), &inner].concat();
    let body = [&head[..], &octets].concat();
    let der = [&[0x30][..], &length(body.len()), &body].concat();
    pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::LF, &der).unwrap()
}

pub fn certificates(chain: &str, key: &str, root: &str, lists: &[Vec<u8>]) -> Certificates {
    Certificates {
        credential: Arc::new(Credential::read(chain.as_bytes(), &Secret::from(key.as_bytes())).unwrap()),
        trust: Arc::new(Trust::read(root.as_bytes(), lists).unwrap()),
        padding: Padding::Pkcs1,
        clock: WallClock { at: Instant::ZERO, unix_seconds: NOW },
    }
}

/// Makes a configuration one by certificates: it calls itself by its subject and expects `remote`.
pub fn by_certificates(config: &mut Config, ours: &Certificates, remote: Identity) {
    config.local_identity = ours.credential.subject();
    config.remote_identity = remote;
    config.credentials = Credentials::Certificates(Box::new(ours.clone()));
}
