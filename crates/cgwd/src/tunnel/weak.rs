//! Which negotiated algorithms are weak (RFC 8247 §2).
//!
//! AWS takes the lowest value that both sides allow, whatever our order, so a weak result is read back and said.

/// What is weak, with the reason, by the names of IANA's registry.
const WEAK: [(&str, &str); 4] = [
    ("PRF_HMAC_SHA1", "SHA-1"),
    ("HMAC_SHA1_96", "SHA-1"),
    ("MODP_1024", "a Diffie-Hellman group of 1024 bits"),
    ("MODP_1536", "a Diffie-Hellman group of 1536 bits"),
];

/// The weak parts of a proposal such as `AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024`, in words.
pub fn weaknesses(proposal: &str) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = proposal
        .split('/')
        .filter_map(|part| WEAK.iter().find(|(name, _)| *name == part).map(|(_, why)| *why))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_8247_advises_against_is_named_once() {
        assert_eq!(
            weaknesses("AES_CBC_128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024"),
            ["SHA-1", "a Diffie-Hellman group of 1024 bits"]
        );
        assert!(weaknesses("AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384").is_empty());
        assert!(weaknesses("AES_CBC_256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/MODP_2048").is_empty());
    }
}
