//! What AUTH is computed over, and the pre-shared key method (RFC 7296 §2.15).
//!
//! Signs and verifies over the exact octets of the two first messages; keeps nothing.

use model::Secret;

use crate::crypto::{self, Prf, SaKeys, SignedOctets};
use crate::status::Role;
use crate::wire::{AuthMethod, Authentication, Identification};

/// What both AUTH payloads are computed over.
#[derive(Clone, Copy)]
pub(crate) struct Transcript<'a> {
    pub(crate) prf: Prf,
    pub(crate) keys: &'a SaKeys,
    /// The IKE_SA_INIT request as it was sent last, cookie and new key exchange included.
    pub(crate) request: &'a [u8],
    /// The IKE_SA_INIT response.
    pub(crate) response: &'a [u8],
    pub(crate) ni: &'a [u8],
    pub(crate) nr: &'a [u8],
    /// What AUTH says of IKE_INTERMEDIATE (RFC 9242 §3.3.2); empty without.
    pub(crate) intermediate: &'a [u8],
}

impl<'a> Transcript<'a> {
    fn signed(&self, whose: Role, id_body: &'a [u8]) -> SignedOctets<'a> {
        match whose {
            Role::Initiator => SignedOctets {
                message: self.request,
                nonce: self.nr,
                id_body,
                sk_p: &self.keys.sk_pi,
                intermediate: self.intermediate,
            },
            Role::Responder => SignedOctets {
                message: self.response,
                nonce: self.ni,
                id_body,
                sk_p: &self.keys.sk_pr,
                intermediate: self.intermediate,
            },
        }
    }

    /// What `whose` side signs when it calls itself `id`.
    pub(crate) fn octets(&self, whose: Role, id: &Identification) -> Vec<u8> {
        self.signed(whose, &id.body()).octets(self.prf)
    }

    /// The AUTH payload of `whose` side.
    pub(crate) fn sign(&self, psk: &Secret, whose: Role, id: &Identification) -> Authentication {
        let body = id.body();
        let data = crypto::auth_psk(self.prf, psk, &self.signed(whose, &body));
        Authentication { method: AuthMethod::SHARED_KEY, data }
    }

    /// Whether `auth` proves that `whose` side knows the key and calls itself `id`.
    pub(crate) fn verify(
        &self,
        psk: &Secret,
        whose: Role,
        id: &Identification,
        auth: &Authentication,
    ) -> bool {
        let body = id.body();
        auth.method == AuthMethod::SHARED_KEY
            && crypto::verify_psk(self.prf, psk, &self.signed(whose, &body), &auth.data)
    }
}
