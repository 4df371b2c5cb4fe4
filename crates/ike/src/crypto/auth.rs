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
    /// [`IntermediateAuth::octets`]; empty without IKE_INTERMEDIATE exchanges.
    pub intermediate: &'a [u8],
}

impl SignedOctets<'_> {
    /// InitiatorSignedOctets or ResponderSignedOctets in one piece, for a signature: message | nonce | prf(SK_p, id)
    /// [| intermediate].
    pub fn octets(&self, prf: Prf) -> Vec<u8> {
        let maced_id = prf.compute(self.sk_p.expose(), &[self.id_body]);
        [self.message, self.nonce, maced_id.expose(), self.intermediate].concat()
    }
}

/// What AUTH says about the IKE_INTERMEDIATE exchanges that came before it (RFC 9242 §3.3.2).
#[derive(Clone, Debug)]
pub struct IntermediateAuth {
    initiator: Secret,
    responder: Secret,
}

impl IntermediateAuth {
    /// Before the first exchange.
    pub fn new() -> Self {
        Self { initiator: Secret::new(Vec::new()), responder: Secret::new(Vec::new()) }
    }

    /// Adds one exchange: IntAuth_n = prf(SK_p, IntAuth_n-1 | A | P) for each side. `request` and `response` are
    /// A | P of each message; the keys are those that protected the exchange, `sk_pi` and `sk_pr`.
    #[must_use]
    pub fn with(
        &self,
        prf: Prf,
        (sk_pi, sk_pr): (&Secret, &Secret),
        request: &[u8],
        response: &[u8],
    ) -> Self {
        Self {
            initiator: prf.compute(sk_pi.expose(), &[self.initiator.expose(), request]),
            responder: prf.compute(sk_pr.expose(), &[self.responder.expose(), response]),
        }
    }

    /// IntAuth_iN | IntAuth_rN | IKE_AUTH_MID: what follows the signed octets.
    pub fn octets(&self, auth_message_id: u32) -> Vec<u8> {
        [self.initiator.expose(), self.responder.expose(), &auth_message_id.to_be_bytes()].concat()
    }
}

impl Default for IntermediateAuth {
    fn default() -> Self {
        Self::new()
    }
}

/// AUTH = prf(prf(PSK, "Key Pad for IKEv2"), message | nonce | prf(SK_p, id body) [| intermediate]).
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
    prf.compute(key.expose(), &[signed.message, signed.nonce, maced_id.expose(), signed.intermediate])
}
