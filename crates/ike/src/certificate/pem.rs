//! PEM and DER files into octets (RFC 7468). Private keys are decoded straight into memory that is wiped.

use model::Secret;
use zeroize::Zeroizing;

use super::error::UnusableCertificate;

/// Certificates or lists in one file, at most.
const MAX_SECTIONS: usize = 64;
const BEGIN: &[u8] = b"-----BEGIN ";

/// Where each section begins.
fn sections(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = text.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN);
    let starts: Vec<usize> = starts.map(|(at, _)| at).take(MAX_SECTIONS + 1).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).filter_map(|(from, to)| text.get(from..to))
}

fn label(section: &[u8]) -> &[u8] {
    let rest = section.get(BEGIN.len()..).unwrap_or_default();
    let end = rest.windows(5).position(|window| window == b"-----").unwrap_or(0);
    rest.get(..end).unwrap_or_default()
}

/// Cuts off what stands behind the last line of a section.
fn trimmed(section: &[u8]) -> &[u8] {
    const END: &[u8] = b"-----END ";
    let Some(end) = section.windows(END.len()).position(|window| window == END) else { return section };
    let tail = section.get(end + END.len()..).unwrap_or_default();
    let close = tail.windows(5).position(|window| window == b"-----").map_or(tail.len(), |at| at + 5);
    section.get(..end + END.len() + close).unwrap_or(section)
}

fn decode(section: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::new());
    let mut decoder = pem_rfc7468::Decoder::new_detect_wrap(trimmed(section)).ok()?;
    out.reserve_exact(decoder.remaining_len());
    decoder.decode_to_end(&mut out).ok()?;
    Some(out)
}

/// Everything with the label `wanted` in the file, in order; a file without PEM is one of DER.
pub(super) fn read(
    file: &[u8],
    wanted: &str,
    what: &'static str,
) -> Result<Vec<Vec<u8>>, UnusableCertificate> {
    if !file.windows(BEGIN.len()).any(|window| window == BEGIN) {
        // DER begins with a SEQUENCE.
        return if file.first() == Some(&0x30) {
            Ok(vec![file.to_vec()])
        } else {
            Err(UnusableCertificate::Nothing(what))
        };
    }
    let mut found = Vec::new();
    for section in sections(file).filter(|section| label(section) == wanted.as_bytes()) {
        found.push(decode(section).ok_or(UnusableCertificate::Malformed { what })?.to_vec());
        if found.len() > MAX_SECTIONS {
            return Err(UnusableCertificate::TooMany(MAX_SECTIONS));
        }
    }
    if found.is_empty() { Err(UnusableCertificate::Nothing(what)) } else { Ok(found) }
}

/// How a private key is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeyForm {
    /// PKCS #8 (RFC 5958), or DER that has not been looked at.
    Pkcs8,
    /// PKCS #1 (RFC 8017 appendix A.1.2).
    Pkcs1,
    /// SEC 1 (RFC 5915).
    Sec1,
}

/// The private key in the file.
pub(super) fn read_key(file: &[u8]) -> Result<(KeyForm, Secret), UnusableCertificate> {
    if !file.windows(BEGIN.len()).any(|window| window == BEGIN) && file.first() == Some(&0x30) {
        return Ok((KeyForm::Pkcs8, Secret::from(file)));
    }
    for section in sections(file) {
        let form = match label(section) {
            b"PRIVATE KEY" => KeyForm::Pkcs8,
            b"RSA PRIVATE KEY" => KeyForm::Pkcs1,
            b"EC PRIVATE KEY" => KeyForm::Sec1,
            b"ENCRYPTED PRIVATE KEY" => return Err(UnusableCertificate::Encrypted),
            _ => continue,
        };
        if section.windows(10).any(|window| window == b"Proc-Type:") {
            return Err(UnusableCertificate::Encrypted);
        }
        let octets = decode(section).ok_or(UnusableCertificate::Malformed { what: "the private key" })?;
        return Ok((form, Secret::from(octets.as_slice())));
    }
    Err(UnusableCertificate::Nothing("private key"))
}
