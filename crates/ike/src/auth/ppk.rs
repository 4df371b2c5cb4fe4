//! The post-quantum pre-shared key in IKE_AUTH (RFC 8784 §3): who names it, who takes it, who goes on without.
//!
//! Nothing here is reached before both said USE_PPK under keys of their own, and nothing of the peer's counts before AUTH
//! verifies. What the notifications say in the clear is covered by AUTH with both first messages.

use model::Secret;

use super::{Claim, authenticate, prove};
use crate::certificate::CertificateProblem;
use crate::config::Ppk;
use crate::crypto::{SaKeys, mix_ppk};
use crate::error::{Failure, PpkProblem};
use crate::message::{self, Parts};
use crate::output::Notice;
use crate::sa::Ctx;
use crate::sa::authenticating::Agreed;
use crate::status::Role;
use crate::wire::{Authentication, NotifyType, Payload};

/// The type of a PPK_ID that is a fixed name (RFC 8784 §5.1).
const PPK_ID_FIXED: u8 = 2;

impl Ppk {
    /// The name in words, for people.
    pub(crate) fn name(&self) -> String {
        readable(&self.id)
    }

    /// PPK_ID as it stands in PPK_IDENTITY.
    fn identity(&self) -> Vec<u8> {
        [&[PPK_ID_FIXED], self.id.as_slice()].concat()
    }
}

/// A peer's octets end in logs: escaped, and no more than a line.
fn readable(id: &[u8]) -> String {
    const SHOWN: usize = 64;
    id.get(..SHOWN).unwrap_or(id).escape_ascii().to_string()
}

/// What a side found in the other's IKE_AUTH.
pub(crate) struct Judged {
    /// What is worth a notice.
    pub(crate) shown: Option<Notice>,
    /// The keys with the PPK, when it is used; they replace the IKE SA's.
    pub(crate) mixed: Option<SaKeys>,
}

impl Agreed {
    /// The PPK to be used: both sides said USE_PPK.
    fn ppk<'c>(&self, ctx: &'c Ctx) -> Option<&'c Ppk> {
        ctx.config.ppk.as_ref().filter(|_| self.use_ppk)
    }

    fn mixed(&self, key: &Secret) -> SaKeys {
        mix_ppk(self.suite.prf, key, &self.keys)
    }

    /// The IKE SA goes on with these keys.
    pub(crate) fn take(&mut self, mixed: Option<SaKeys>) {
        if let Some(keys) = mixed {
            self.keys = keys;
            self.ppk = true;
        }
    }
}

/// What the initiator shows in IKE_AUTH.
pub(crate) fn prove_as_initiator(ctx: &Ctx, agreed: &Agreed) -> Result<Vec<Payload>, Failure> {
    let proof = |keys| prove(ctx, &agreed.transcript(keys), Role::Initiator, agreed.hashes);
    let Some(ppk) = agreed.ppk(ctx) else { return proof(&agreed.keys) };
    let mixed = agreed.mixed(&ppk.key);
    let mut payloads = proof(&mixed)?;
    payloads.push(message::notify(NotifyType::PPK_IDENTITY, ppk.identity()));
    if !ppk.required {
        //= RFC 8784 §3: where a PPK is optional, the authentication data without it goes along.
        let plain = proof(&agreed.keys)?;
        payloads.extend(plain.into_iter().find_map(|payload| match payload {
            Payload::Auth(auth) => Some(message::notify(NotifyType::NO_PPK_AUTH, auth.data)),
            _ => None,
        }));
    }
    Ok(payloads)
}

/// What the responder shows; `mixed` is what [`judge_initiator`] found.
pub(crate) fn prove_as_responder(
    ctx: &Ctx,
    agreed: &Agreed,
    mixed: Option<&SaKeys>,
) -> Result<Vec<Payload>, Failure> {
    let transcript = agreed.transcript(mixed.unwrap_or(&agreed.keys));
    let mut payloads = prove(ctx, &transcript, Role::Responder, agreed.hashes)?;
    //= RFC 8784 §3: without data, to say that the PPK is used.
    payloads.extend(mixed.map(|_| message::notify(NotifyType::PPK_IDENTITY, [])));
    Ok(payloads)
}

/// Judges the responder's proof.
pub(crate) fn judge_responder(
    ctx: &Ctx,
    agreed: &Agreed,
    parts: &Parts,
    claim: &Claim<'_>,
) -> Result<Judged, Failure> {
    let plain = || authenticate(ctx, &agreed.transcript(&agreed.keys), parts, claim);
    let Some(ppk) = agreed.ppk(ctx) else { return Ok(Judged { shown: plain()?, mixed: None }) };
    if parts.notify(NotifyType::PPK_IDENTITY).is_none() {
        let shown = plain()?;
        //= RFC 8784 §3: an initiator that needs the PPK ends it here; another one goes on as if there were none.
        if ppk.required {
            return Err(PpkProblem::NotUsed { id: ppk.name() }.into());
        }
        return Ok(Judged { shown, mixed: None });
    }
    let mixed = agreed.mixed(&ppk.key);
    let shown = authenticate(ctx, &agreed.transcript(&mixed), parts, claim)
        .map_err(|failure| with_ppk(ppk, failure))?;
    Ok(Judged { shown, mixed: Some(mixed) })
}

/// Judges the initiator's proof (RFC 8784 §3, table 1).
pub(crate) fn judge_initiator(
    ctx: &Ctx,
    agreed: &Agreed,
    parts: &Parts,
    claim: &Claim<'_>,
) -> Result<Judged, Failure> {
    let plain = |claim: &Claim<'_>| authenticate(ctx, &agreed.transcript(&agreed.keys), parts, claim);
    let Some(ppk) = agreed.ppk(ctx) else {
        // AUTH first: what a stranger lacks is no news.
        let shown = plain(claim)?;
        return match ctx.config.ppk.as_ref().filter(|ppk| ppk.required) {
            Some(ppk) => Err(PpkProblem::NotOffered { id: ppk.name() }.into()),
            None => Ok(Judged { shown, mixed: None }),
        };
    };
    let Some(identity) = parts.notify(NotifyType::PPK_IDENTITY) else {
        return Err(PpkProblem::NotNamed { id: ppk.name() }.into());
    };
    // The method is the one that AUTH names; the data is computed without the PPK.
    let without = parts
        .notify(NotifyType::NO_PPK_AUTH)
        .map(|notify| Authentication { method: claim.auth.method, data: notify.data.clone() });
    let without = without.as_ref().map(|auth| Claim { whose: claim.whose, id: claim.id, auth });
    if identity.data != ppk.identity() {
        return match without.filter(|_| !ppk.required) {
            Some(claim) => Ok(Judged { shown: plain(&claim)?, mixed: None }),
            None => {
                let got = readable(identity.data.get(1..).unwrap_or_default());
                Err(PpkProblem::Unknown { got, id: ppk.name() }.into())
            }
        };
    }
    let mixed = agreed.mixed(&ppk.key);
    match authenticate(ctx, &agreed.transcript(&mixed), parts, claim) {
        Ok(shown) => Ok(Judged { shown, mixed: Some(mixed) }),
        // The same name, and another key: the initiator is who it says, so this is certain.
        Err(failure) if is_unverified(&failure) && without.is_some_and(|claim| plain(&claim).is_ok()) => {
            Err(PpkProblem::Differs { id: ppk.name() }.into())
        }
        Err(failure) => Err(with_ppk(ppk, failure)),
    }
}

/// What the peer's refusal of our IKE_AUTH means.
pub(crate) fn refused(ctx: &Ctx, agreed: &Agreed, failure: Failure) -> Failure {
    match (agreed.ppk(ctx), failure) {
        (Some(ppk), Failure::AuthenticationFailed { by_peer }) => {
            PpkProblem::Unverified { id: ppk.name(), by_peer }.into()
        }
        (_, failure) => failure,
    }
}

/// An AUTH that does not verify may be the PPK's fault.
fn with_ppk(ppk: &Ppk, failure: Failure) -> Failure {
    if is_unverified(&failure) {
        PpkProblem::Unverified { id: ppk.name(), by_peer: false }.into()
    } else {
        failure
    }
}

/// AUTH is of the right kind and of other octets.
const fn is_unverified(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::AuthenticationFailed { .. } | Failure::Certificate(CertificateProblem::WrongKey { .. })
    )
}
