//! Everything that can be offered in phase 1, to learn what the peer would take.

use ike::IkeProposal;
use ike::crypto::{IkeCipher, Integrity, Prf};
use ike::wire::DhGroup;

/// The groups of AWS's phase 1 options that exist here. The first one is guessed for the key exchange; a peer that
/// wants another one names it (INVALID_KE_PAYLOAD), which is as good an answer.
const GROUPS: [DhGroup; 9] = [
    DhGroup::MODP_2048,
    DhGroup::MODP_1024,
    DhGroup(15),
    DhGroup(16),
    DhGroup(17),
    DhGroup(18),
    DhGroup(19),
    DhGroup(20),
    DhGroup(21),
];

/// One proposal for AEAD ciphers and one for the others, with everything in them.
pub fn everything() -> Vec<IkeProposal> {
    let (aead, cbc) = IkeCipher::ALL.into_iter().partition(|cipher| matches!(cipher, IkeCipher::AesGcm16(_)));
    let proposal = |encryption, integrity| IkeProposal {
        encryption,
        prf: Prf::ALL.to_vec(),
        integrity,
        groups: GROUPS.to_vec(),
        additional: Vec::new(),
    };
    let hashes = vec![
        Integrity::HmacSha1_96,
        Integrity::HmacSha2_256_128,
        Integrity::HmacSha2_384_192,
        Integrity::HmacSha2_512_256,
    ];
    vec![proposal(aead, Vec::new()), proposal(cbc, hashes)]
}
