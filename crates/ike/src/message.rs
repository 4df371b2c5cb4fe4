//! The payloads of one message, sorted by kind: what the states look at.
//!
//! Order does not matter in IKEv2 (RFC 7296 §2.5: payloads may come in any order); payloads that may stand
//! only once and stand twice make the message invalid. Decides nothing else.

use model::TrafficSelector;

use crate::wire::{
    Authentication, Certificate, Delete, Identification, KeyExchange, Notify, NotifyType, Payload,
    PayloadType, SecurityAssociation,
};

/// Payloads by kind.
#[derive(Default, Debug)]
pub(crate) struct Parts {
    pub(crate) sa: Option<SecurityAssociation>,
    pub(crate) ke: Option<KeyExchange>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) id_i: Option<Identification>,
    pub(crate) id_r: Option<Identification>,
    pub(crate) auth: Option<Authentication>,
    pub(crate) ts_i: Option<Vec<TrafficSelector>>,
    pub(crate) ts_r: Option<Vec<TrafficSelector>>,
    /// CERT payloads in order, the peer's own first (RFC 7296 §3.6).
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) notifies: Vec<Notify>,
    pub(crate) deletes: Vec<Delete>,
    /// The first unknown payload with the critical bit (RFC 7296 §2.5).
    pub(crate) critical: Option<PayloadType>,
    /// A payload that may stand once stood twice.
    pub(crate) repeated: bool,
}

impl Parts {
    /// Sorts payloads.
    pub(crate) fn new(payloads: impl IntoIterator<Item = Payload>) -> Self {
        let mut parts = Self::default();
        for payload in payloads {
            let repeated = match payload {
                Payload::Sa(sa) => parts.sa.replace(sa).is_some(),
                Payload::Ke(ke) => parts.ke.replace(ke).is_some(),
                Payload::Nonce(nonce) => parts.nonce.replace(nonce).is_some(),
                Payload::IdI(id) => parts.id_i.replace(id).is_some(),
                Payload::IdR(id) => parts.id_r.replace(id).is_some(),
                Payload::Auth(auth) => parts.auth.replace(auth).is_some(),
                Payload::TsI(selectors) => parts.ts_i.replace(selectors).is_some(),
                Payload::TsR(selectors) => parts.ts_r.replace(selectors).is_some(),
                Payload::Notify(notify) => {
                    parts.notifies.push(notify);
                    false
                }
                Payload::Delete(delete) => {
                    parts.deletes.push(delete);
                    false
                }
                Payload::Cert(certificate) => {
                    parts.certificates.push(certificate);
                    false
                }
                Payload::Unknown { kind, critical: true, .. } => {
                    parts.critical.get_or_insert(kind);
                    false
                }
                Payload::Unknown { .. }
                | Payload::Vendor(_)
                | Payload::CertReq(_)
                | Payload::Configuration(_)
                | Payload::Eap(_)
                | Payload::Encrypted(_)
                | Payload::EncryptedFragment(_) => false,
            };
            parts.repeated |= repeated;
        }
        parts
    }

    /// The first notification of this type.
    pub(crate) fn notify(&self, kind: NotifyType) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.kind == kind)
    }

    /// The hashes that the peer can verify signatures with; `None` when it announced none (RFC 7427 §4).
    pub(crate) fn hashes(&self) -> Option<crate::certificate::Hashes> {
        let announced = self.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)?;
        Some(crate::certificate::Hashes::read(&announced.data))
    }

    /// The first notification that reports an error; an unknown error type counts (RFC 7296 §3.10.1).
    pub(crate) fn error(&self) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.kind.is_error())
    }
}

/// A notification about no SA in particular.
pub(crate) fn notify(kind: NotifyType, data: impl Into<Vec<u8>>) -> Payload {
    Payload::Notify(Notify::new(kind, data.into()))
}

/// The group that INVALID_KE_PAYLOAD asks for (RFC 7296 §1.3).
pub(crate) fn wanted_group(notify: &Notify) -> Option<crate::wire::DhGroup> {
    <[u8; 2]>::try_from(notify.data.as_slice())
        .ok()
        .map(|bytes| crate::wire::DhGroup(u16::from_be_bytes(bytes)))
}
