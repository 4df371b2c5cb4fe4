//! How a tunnel authenticates: `psk` and its kin, or `certificate` and its.

use std::path::PathBuf;

use toml::de::DeValue;

use super::connection::identifier;
use super::reader::Reader;
use super::tunnel::{MAX_IDENTITY, key_source};
use crate::{Authentication, CertificateFiles, Diagnostic, Peer, PrivateKey, RsaPadding};

/// Revocation lists of one tunnel.
const MAX_LISTS: usize = 32;
/// The keys that only certificates need.
const KEYS: [&str; 6] = ["certificate", "private_key", "private_key_credential", "ca", "crl", "rsa_padding"];

/// Reads either way; both at once is an error.
pub(super) fn authentication(reader: &mut Reader<'_, '_>, peer: Peer) -> Option<Authentication> {
    let Some(first) = KEYS.into_iter().find(|key| reader.has(key)) else {
        return key_source(reader, peer).map(Authentication::Psk);
    };
    if let Some(other) = ["psk", "psk_file", "psk_credential"].into_iter().find(|key| reader.has(key)) {
        let finding = Diagnostic::error(
            "CFG-AUTHENTICATION",
            format!("both `{first}` and `{other}` are given"),
            "keep `psk` for a connection with pre-shared keys, `certificate`, `private_key` and `ca` for one with AWS Private CA",
        );
        let first = reader.span_of(first).unwrap_or(0..0);
        let other = reader.span_of(other).unwrap_or(0..0);
        reader.push(finding.at(other, "").and_at(first, ""));
        return None;
    }
    certificates(reader).map(Authentication::Certificates)
}

fn certificates(reader: &mut Reader<'_, '_>) -> Option<CertificateFiles> {
    let certificate = path(reader, "certificate");
    let private_key = private_key(reader);
    let ca = path(reader, "ca");
    let crl = lists(reader);
    let paddings = [("pkcs1", RsaPadding::Pkcs1), ("pss", RsaPadding::Pss)];
    let rsa_padding = reader.choice("rsa_padding", &paddings).unwrap_or_default();
    Some(CertificateFiles {
        certificate: certificate?,
        private_key: private_key?,
        ca: ca?,
        crl: crl?,
        rsa_padding,
    })
}

fn path(reader: &mut Reader<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let found = reader.path(key);
    if !reader.has(key) {
        reader.missing(
            key,
            format!("add `{key} = \"/etc/cgwd/…\"`: certificates need `certificate`, `private_key` and `ca`"),
        );
    }
    found.map(|at| at.value)
}

fn private_key(reader: &mut Reader<'_, '_>) -> Option<PrivateKey> {
    match (reader.has("private_key"), reader.has("private_key_credential")) {
        (true, true) => {
            let what = "both `private_key` and `private_key_credential` are given";
            let span = reader.span_of("private_key_credential").unwrap_or(0..0);
            reader.push(Diagnostic::error("CFG-AUTHENTICATION", what, "keep one of the two").at(span, ""));
            None
        }
        (false, true) => identifier(reader, "private_key_credential", MAX_IDENTITY)
            .map(|at| PrivateKey::Credential(at.value)),
        _ => path(reader, "private_key").map(PrivateKey::File),
    }
}

fn lists(reader: &mut Reader<'_, '_>) -> Option<Vec<PathBuf>> {
    if !reader.has("crl") {
        return Some(Vec::new());
    }
    let mut found = Vec::new();
    for (item, span) in reader.list("crl")? {
        match item {
            DeValue::String(text) if text.starts_with('/') => found.push(PathBuf::from(text.as_ref())),
            _ => {
                reader.bad(span, "`crl` holds absolute paths", "write [\"/etc/cgwd/ca.crl\"]");
                return None;
            }
        }
    }
    if found.len() > MAX_LISTS {
        let span = reader.span_of("crl").unwrap_or(0..0);
        reader.bad(span, "`crl` names too many lists", format!("name {MAX_LISTS} at most"));
        return None;
    }
    Some(found)
}
