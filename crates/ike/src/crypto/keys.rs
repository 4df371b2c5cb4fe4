//! Key derivation: IKE SA (RFC 7296 §2.14), rekeyed IKE SA (§2.18), child SA (§2.17).

use model::{EspKeys, EspTransform, IkeSpi, Secret};

use super::algorithm::{Prf, Suite};
use super::prf::prf_plus;

/// What both sides have exchanged when an IKE SA's keys are derived. Initiator and responder are those of
/// the exchange at hand: IKE_SA_INIT, or the CREATE_CHILD_SA that rekeys.
#[derive(Clone, Copy, Debug)]
pub struct KeyInputs<'a> {
    /// The initiator's nonce, without payload header.
    pub ni: &'a [u8],
    /// The responder's nonce.
    pub nr: &'a [u8],
    /// g^ir from [`super::KeyPair::agree`].
    pub shared: &'a Secret,
    /// The new IKE SA's initiator SPI.
    pub spi_i: IkeSpi,
    /// The new IKE SA's responder SPI.
    pub spi_r: IkeSpi,
}

/// The seven keys of an IKE SA. `i` keys protect what the SA's original initiator sends.
#[derive(Clone, Debug)]
pub struct SaKeys {
    /// Derives the keys of child SAs and of the next IKE SA.
    pub sk_d: Secret,
    /// Integrity, initiator's messages; empty for AEAD.
    pub sk_ai: Secret,
    /// Integrity, responder's messages; empty for AEAD.
    pub sk_ar: Secret,
    /// Encryption, initiator's messages; for GCM with four octets of salt at the end.
    pub sk_ei: Secret,
    /// Encryption, responder's messages.
    pub sk_er: Secret,
    /// Authenticates the initiator's identity in AUTH.
    pub sk_pi: Secret,
    /// Authenticates the responder's identity in AUTH.
    pub sk_pr: Secret,
}

/// Keys of a pair of ESP SAs. Initiator and responder are those of the exchange that made the pair, which
/// need not be those of the IKE SA (RFC 7296 §2.17).
#[derive(Clone, Debug)]
pub struct ChildKeys {
    /// For the traffic from the initiator to the responder.
    pub initiator: EspKeys,
    /// For the traffic from the responder to the initiator.
    pub responder: EspKeys,
}

/// Keys of a new IKE SA from IKE_SA_INIT (RFC 7296 §2.14): SKEYSEED = prf(Ni | Nr, g^ir).
pub fn derive_sa_keys(suite: &Suite, inputs: &KeyInputs<'_>) -> SaKeys {
    let nonces = [inputs.ni, inputs.nr].concat();
    let skeyseed = suite.prf.compute(&nonces, &[inputs.shared.expose()]);
    expand(suite, &skeyseed, inputs)
}

/// The same keys with a post-quantum pre-shared key mixed into those that make others and prove identities
/// (RFC 8784 §3): SK_d = prf+(PPK, SK_d'), and so SK_pi and SK_pr. Only for IKE_AUTH and what follows it, once: a rekey
/// starts from the SK_d that has it.
pub fn mix_ppk(prf: Prf, ppk: &Secret, keys: &SaKeys) -> SaKeys {
    let mix = |key: &Secret| {
        let [mixed] = cut(prf, ppk, &[key.expose()], [key.expose().len()]);
        mixed
    };
    SaKeys { sk_d: mix(&keys.sk_d), sk_pi: mix(&keys.sk_pi), sk_pr: mix(&keys.sk_pr), ..keys.clone() }
}

/// Keys of an IKE SA that replaces another (RFC 7296 §2.18): SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr).
///
/// `old_prf` and `old_sk_d` belong to the SA being replaced, `suite` and `inputs` to the new one.
pub fn derive_rekeyed_sa_keys(
    old_prf: Prf,
    old_sk_d: &Secret,
    suite: &Suite,
    inputs: &KeyInputs<'_>,
) -> SaKeys {
    derive_multiple_sa_keys((old_prf, old_sk_d), suite, inputs, &[])
}

/// As [`derive_rekeyed_sa_keys`], after additional key exchanges whose secrets are `more`, in their order
/// (RFC 9370 §2.2.4): SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1) | ... | SK(n)).
pub fn derive_multiple_sa_keys(
    (old_prf, old_sk_d): (Prf, &Secret),
    suite: &Suite,
    inputs: &KeyInputs<'_>,
    more: &[Secret],
) -> SaKeys {
    let mut parts = vec![inputs.shared.expose(), inputs.ni, inputs.nr];
    parts.extend(more.iter().map(Secret::expose));
    let skeyseed = old_prf.compute(old_sk_d.expose(), &parts);
    expand(suite, &skeyseed, inputs)
}

/// Keys of a child SA (RFC 7296 §2.17): KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr).
///
/// `shared` is given exactly when the exchange carried its own key exchange (perfect forward secrecy);
/// `ni` and `nr` are that exchange's nonces: those of IKE_SA_INIT for the first child.
pub fn derive_child_keys(
    prf: Prf,
    sk_d: &Secret,
    shared: Option<&Secret>,
    ni: &[u8],
    nr: &[u8],
    transform: EspTransform,
) -> ChildKeys {
    derive_multiple_child_keys(prf, sk_d, shared.map_or(&[], std::slice::from_ref), (ni, nr), transform)
}

/// As [`derive_child_keys`], after any number of key exchanges (RFC 9370 §2.2.4), whose secrets are `shared`:
/// KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1) | ... | SK(n)).
pub fn derive_multiple_child_keys(
    prf: Prf,
    sk_d: &Secret,
    shared: &[Secret],
    (ni, nr): (&[u8], &[u8]),
    transform: EspTransform,
) -> ChildKeys {
    let (first, more) =
        shared.split_first().map_or((&[][..], shared), |(first, more)| (first.expose(), more));
    let mut seed = vec![first, ni, nr];
    seed.extend(more.iter().map(Secret::expose));
    let (encryption, integrity) = (transform.encryption_key_len(), transform.integrity_key_len());
    //= RFC 7296 §2.17: initiator to responder first; in each direction encryption before integrity.
    let [ei, ai, er, ar] = cut(prf, sk_d, &seed, [encryption, integrity, encryption, integrity]);
    ChildKeys {
        initiator: EspKeys { encryption: ei, integrity: ai },
        responder: EspKeys { encryption: er, integrity: ar },
    }
}

/// {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr).
fn expand(suite: &Suite, skeyseed: &Secret, inputs: &KeyInputs<'_>) -> SaKeys {
    let (spi_i, spi_r) = (inputs.spi_i.to_bytes(), inputs.spi_r.to_bytes());
    let p = suite.prf.output_len();
    let e = suite.cipher.key_len();
    // RFC 5282 §7.1: with an AEAD cipher SK_ai and SK_ar have no octets.
    let a = match suite.integrity {
        Some(integrity) if !suite.cipher.is_aead() => integrity.key_len(),
        _ => 0,
    };
    let seed = [inputs.ni, inputs.nr, &spi_i, &spi_r];
    let [sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr] =
        cut(suite.prf, skeyseed, &seed, [p, a, a, e, e, p, p]);
    SaKeys { sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr }
}

/// Expands and cuts into pieces of the given sizes, in order.
fn cut<const N: usize>(prf: Prf, key: &Secret, seed: &[&[u8]], sizes: [usize; N]) -> [Secret; N] {
    // Sizes come from our own suites: seven keys of at most 64 octets against 255 blocks of at least 20.
    let material =
        prf_plus(prf, key.expose(), seed, sizes.iter().sum()).unwrap_or_else(|_| Secret::new(Vec::new()));
    let mut rest = material.expose();
    sizes.map(|size| {
        let (piece, tail) = rest.split_at_checked(size).unwrap_or_default();
        rest = tail;
        Secret::from(piece)
    })
}
