//! The AUTH payload with a pre-shared key (RFC 7296 §2.15).

use model::Secret;
use subtle::ConstantTimeEq;

use super::algorithm::Prf;

/// The pad of RFC 7296 §2.15: 17 ASCII characters without a terminator.
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// What one side signs. "Own" is the side whose AUTH it is, "other" the opposite one.
#[derive(Clone, Copy, Debug)]
pub struct SignedOctets<'a> {
    /// Own IKE_SA_INIT message, exactly as it was sent: the last one, when a COOKIE or INVALID_KE_PAYLOAD
    /// made the initiator send it again.
    pub message: &'a [u8],
    /// The other side's nonce.
    pub nonce: &'a [u8],
    /// Own identification payload without generic header: [`crate::wire::Identification::body`].
    pub id_body: &'a [u8],
    /// SK_pi for the initiator's AUTH, SK_pr for the responder's.
    pub sk_p: &'a Secret,
}

impl SignedOctets<'_> {
    /// InitiatorSignedOctets or ResponderSignedOctets in one piece, for a signature: message | nonce | prf(SK_p, id).
    pub fn octets(&self, prf: Prf) -> Vec<u8> {
        let maced_id = prf.compute(self.sk_p.expose(), &[self.id_body]);
        [self.message, self.nonce, maced_id.expose()].concat()
    }
}

/// AUTH = prf(prf(PSK, "Key Pad for IKEv2"), message | nonce | prf(SK_p, id body)).
pub fn auth_psk(prf: Prf, psk: &Secret, signed: &SignedOctets<'_>) -> Vec<u8> {
    compute(prf, psk, signed).expose().to_vec()
}

/// Whether `received` is the AUTH data that the peer had to send, compared in constant time.
#[must_use = "a peer whose AUTH was not looked at is not authenticated"]
pub fn verify_psk(prf: Prf, psk: &Secret, signed: &SignedOctets<'_>, received: &[u8]) -> bool {
    compute(prf, psk, signed).expose().ct_eq(received).into()
}

fn compute(prf: Prf, psk: &Secret, signed: &SignedOctets<'_>) -> Secret {
    let key = prf.compute(psk.expose(), &[KEY_PAD]);
    let maced_id = prf.compute(signed.sk_p.expose(), &[signed.id_body]);
    prf.compute(key.expose(), &[signed.message, signed.nonce, maced_id.expose()])
}
