//! Small values written as text: durations, prefixes, algorithm names as other products spell them.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::{EncryptionAlgorithm, IntegrityAlgorithm};

/// `500ms`, `30s`, `5m`, `8h`, or bare seconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim().bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.trim().split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit.trim_start() {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" | "min" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// As people write it: `100 ms`, `28800 s`.
pub(super) fn show_duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{} ms", duration.as_millis()),
    }
}

/// Why a text is no prefix: completes the sentence that starts with the text.
pub(super) struct BadPrefix {
    /// `is no prefix`
    pub(super) what: String,
    /// What to write instead.
    pub(super) remedy: String,
}

/// A prefix without host bits.
pub(super) fn prefix(text: &str) -> Result<IpNet, BadPrefix> {
    if let Ok(net) = text.parse::<IpNet>() {
        if net.addr() == net.network() {
            return Ok(net);
        }
        return Err(BadPrefix {
            what: "has bits set behind the prefix length".to_owned(),
            remedy: format!(
                "write {} for the network, or {} for the host",
                net.trunc(),
                IpNet::from(net.addr())
            ),
        });
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(BadPrefix {
            what: "has no prefix length".to_owned(),
            remedy: format!("add its length, as in {address}/16; a single host is {}", IpNet::from(address)),
        });
    }
    Err(BadPrefix {
        what: "is no prefix".to_owned(),
        remedy: "write it as 10.0.0.0/16 or 2001:db8::/32".to_owned(),
    })
}

/// The algorithm that another product's spelling means.
pub(super) fn meant_encryption(text: &str) -> Option<EncryptionAlgorithm> {
    use EncryptionAlgorithm::{Aes128, Aes128Gcm16, Aes256, Aes256Gcm16};
    let plain = plain(text);
    let bits256 = plain.contains("256");
    if !plain.starts_with("aes") || !(bits256 || plain.contains("128")) {
        return None;
    }
    Some(match (plain.contains("gcm"), bits256) {
        (true, true) => Aes256Gcm16,
        (true, false) => Aes128Gcm16,
        (false, true) => Aes256,
        (false, false) => Aes128,
    })
}

/// The algorithm that another product's spelling means.
pub(super) fn meant_integrity(text: &str) -> Option<IntegrityAlgorithm> {
    let plain = plain(text);
    if !plain.contains("sha") {
        return None;
    }
    [
        ("512", IntegrityAlgorithm::Sha2_512),
        ("384", IntegrityAlgorithm::Sha2_384),
        ("256", IntegrityAlgorithm::Sha2_256),
    ]
    .into_iter()
    .find(|(bits, _)| plain.contains(bits))
    .map(|(_, algorithm)| algorithm)
    .or_else(|| plain.contains("sha1").then_some(IntegrityAlgorithm::Sha1))
}

/// The group number that another product's spelling means: `ecp384`, `modp2048`, `group20`, `"20"`.
pub(super) fn meant_group(text: &str) -> Option<u16> {
    let plain = plain(text);
    let named = [
        ("modp1024", 2),
        ("modp1536", 5),
        ("modp2048", 14),
        ("modp3072", 15),
        ("modp4096", 16),
        ("modp6144", 17),
        ("modp8192", 18),
        ("ecp256", 19),
        ("ecp384", 20),
        ("ecp521", 21),
        ("x25519", 31),
        ("curve25519", 31),
    ];
    let by_name = named.iter().find(|(name, _)| *name == plain).map(|(_, number)| *number);
    by_name.or_else(|| plain.trim_start_matches("group").trim_start_matches("dh").parse().ok())
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_a_unit() {
        for (text, ms) in [("500ms", 500), ("1s", 1000), ("2 m", 120_000), ("8h", 28_800_000), ("40", 40_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1.5s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn other_products_spellings_are_understood() {
        assert_eq!(meant_encryption("aes256gcm16"), Some(EncryptionAlgorithm::Aes256Gcm16));
        assert_eq!(meant_encryption("aes-128-cbc"), Some(EncryptionAlgorithm::Aes128));
        assert_eq!(meant_encryption("3des"), None);
        assert_eq!(meant_integrity("sha384"), Some(IntegrityAlgorithm::Sha2_384));
        assert_eq!(meant_integrity("hmac-sha1-96"), Some(IntegrityAlgorithm::Sha1));
        assert_eq!(meant_integrity("md5"), None);
        assert_eq!(meant_group("ecp384"), Some(20));
        assert_eq!(meant_group("Group 14"), Some(14));
        assert_eq!(meant_group("big"), None);
    }
}
