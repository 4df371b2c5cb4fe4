//! Offers, choices and narrowing: turns configured proposals into SA payloads and back.
//!
//! As responder it chooses among what is offered, as initiator it checks that the answer is one of the
//! offers; traffic selectors are narrowed to the common part. It never sees keys and keeps nothing.
//! RFC 7296 §2.7 (negotiation), §2.9 (narrowing), §3.3 (SA payload); RFC 5282 §8 (AEAD).

use std::fmt::Write as _;

use model::{EspSuite, IkeSpi, Spi, TrafficSelector};

use crate::config::{EspCipher, EspProposal, IkeProposal, Selection};
use crate::crypto::{self, IkeCipher, Integrity, Prf, Suite};
use crate::wire::{
    DhGroup, EncrId, IntegId, PrfId, Proposal, ProtocolId, SecurityAssociation, Transform, TransformType,
};

/// Traffic selectors kept after narrowing; what does not fit is narrowed away (RFC 7296 §2.9 lets us).
pub(crate) const MAX_NARROWED: usize = 32;

/// An accepted IKE proposal.
#[derive(Clone, Debug)]
pub(crate) struct IkeChoice {
    /// The algorithms.
    pub(crate) suite: Suite,
    /// Further key exchanges, in their order (RFC 9370).
    pub(crate) additional: Vec<DhGroup>,
    /// The sender's SPI in the proposal (rekey only).
    pub(crate) spi: Option<IkeSpi>,
    /// The answer's proposal, its SPI still to be filled in.
    pub(crate) accepted: Proposal,
}

/// An accepted ESP proposal.
#[derive(Clone, Debug)]
pub(crate) struct EspChoice {
    /// The algorithms.
    pub(crate) suite: EspSuite,
    /// The group of its own key exchange.
    pub(crate) group: Option<DhGroup>,
    /// Further key exchanges, in their order (RFC 9370).
    pub(crate) additional: Vec<DhGroup>,
    /// The sender's SPI.
    pub(crate) spi: Spi,
    /// The answer's proposal, its SPI still to be filled in.
    pub(crate) accepted: Proposal,
}

impl EspChoice {
    /// As `status --json` shows it.
    pub(crate) fn text(&self) -> String {
        esp_text(&self.suite, self.group, &self.additional)
    }
}

/// `AES_GCM_16_256/ECP_384`; the group only where there was a key exchange.
pub(crate) fn esp_text(suite: &EspSuite, group: Option<DhGroup>, additional: &[DhGroup]) -> String {
    let mut text = suite.transform.to_string();
    for group in group.iter().chain(additional) {
        let _ = write!(text, "/{group}");
    }
    if suite.esn {
        text.push_str("/ESN");
    }
    text
}

/// `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384/ML_KEM_768`.
pub(crate) fn ike_text(suite: &Suite, additional: &[DhGroup]) -> String {
    let mut text = suite.to_string();
    for method in additional {
        let _ = write!(text, "/{method}");
    }
    text
}

/// One transform type of one of our proposals: what we allow, in order of preference.
struct Slot {
    kind: TransformType,
    ours: Vec<Transform>,
}

/// The slots of additional key exchanges: one method each (RFC 9370 §2.2.1).
fn additional_slots(methods: &[DhGroup]) -> impl Iterator<Item = Slot> {
    let supported = methods.iter().copied().filter(|method| crypto::is_supported_additional(*method));
    TransformType::ADDITIONAL
        .into_iter()
        .zip(supported)
        .map(|(kind, method)| Slot { kind, ours: vec![Transform::new(kind, method.0)] })
}

fn ike_slots(proposal: &IkeProposal) -> Vec<Slot> {
    let groups = proposal.groups.iter().copied().filter(|group| crypto::is_supported(*group));
    let first = [
        Slot {
            kind: TransformType::ENCR,
            ours: proposal.encryption.iter().map(|cipher| cipher.transform()).collect(),
        },
        Slot { kind: TransformType::PRF, ours: proposal.prf.iter().map(|prf| prf.transform()).collect() },
        Slot {
            kind: TransformType::INTEG,
            ours: proposal
                .integrity
                .iter()
                .map(|algorithm| Transform::integrity((*algorithm).into()))
                .collect(),
        },
        Slot { kind: TransformType::DH, ours: groups.map(Transform::group).collect() },
    ];
    first.into_iter().chain(additional_slots(&proposal.additional)).collect()
}

fn esp_slots(proposal: &EspProposal, with_groups: bool) -> Vec<Slot> {
    let encryption = |cipher: &EspCipher| match cipher {
        EspCipher::AesGcm16(bits) => Transform::encryption(EncrId::AES_GCM_16, Some(bits.bits())),
        EspCipher::AesCbc(bits) => Transform::encryption(EncrId::AES_CBC, Some(bits.bits())),
    };
    let groups = proposal.groups.iter().copied().filter(|group| with_groups && crypto::is_supported(*group));
    let additional = if with_groups && !proposal.groups.is_empty() { &proposal.additional[..] } else { &[] };
    let first = [
        Slot { kind: TransformType::ENCR, ours: proposal.encryption.iter().map(encryption).collect() },
        Slot {
            kind: TransformType::INTEG,
            ours: proposal
                .integrity
                .iter()
                .map(|algorithm| Transform::integrity((*algorithm).into()))
                .collect(),
        },
        Slot { kind: TransformType::DH, ours: groups.map(Transform::group).collect() },
        Slot { kind: TransformType::ESN, ours: proposal.esn.iter().copied().map(Transform::esn).collect() },
    ];
    first.into_iter().chain(additional_slots(additional)).collect()
}

fn offer(slots: impl Iterator<Item = Vec<Slot>>, protocol: ProtocolId, spi: &[u8]) -> SecurityAssociation {
    let proposals = slots
        .zip(1_u8..)
        .map(|(slots, number)| Proposal {
            number,
            protocol,
            spi: spi.to_vec(),
            transforms: slots.into_iter().flat_map(|slot| slot.ours).collect(),
        })
        .collect();
    SecurityAssociation { proposals }
}

/// Our offer for an IKE SA; `spi` only when it is a rekey (RFC 7296 §3.3.1).
pub(crate) fn ike_offer(ours: &[IkeProposal], spi: Option<IkeSpi>) -> SecurityAssociation {
    let spi = spi.map(IkeSpi::to_bytes);
    offer(ours.iter().map(ike_slots), ProtocolId::IKE, spi.as_ref().map_or(&[], |bytes| &bytes[..]))
}

/// Our offer for a child SA. The first child has no key exchange of its own: `with_groups` is false
/// (RFC 7296 §1.2).
pub(crate) fn esp_offer(ours: &[EspProposal], spi: Spi, with_groups: bool) -> SecurityAssociation {
    let slots = ours.iter().map(|proposal| esp_slots(proposal, with_groups));
    offer(slots, ProtocolId::ESP, &spi.get().to_be_bytes())
}

/// The number that orders transforms of one type for [`Selection::LowestValue`].
fn value(transform: &Transform) -> (u16, u16) {
    (transform.id, transform.key_bits().unwrap_or(0))
}

/// How a choice is made.
#[derive(Clone, Copy)]
struct Rule {
    selection: Selection,
    /// The group of the KE payload at hand: taken if we allow it, it saves a round trip.
    guessed: Option<DhGroup>,
    /// IKE_AUTH: offered groups and additional key exchanges are ignored.
    ignore_groups: bool,
}

/// One transform of each type that both allow, in the order of `slots`; `None` when a type has none.
fn intersect(slots: &[Slot], theirs: &Proposal, rule: Rule) -> Option<Vec<Transform>> {
    //= RFC 7296 §3.3.6: a proposal with a transform type we do not know is not acceptable.
    let known = |kind| slots.iter().any(|slot| slot.kind == kind);
    let mut chosen = Vec::new();
    for transform in theirs.transforms.iter().filter(|transform| !known(transform.kind)) {
        let kind = transform.kind;
        if kind.is_additional() && rule.ignore_groups {
            continue;
        }
        //= RFC 9370 §2.2.1: an additional key exchange that may be left out is offered with NONE.
        let none = theirs.transforms.iter().find(|other| other.kind == kind && other.id == DhGroup::NONE.0);
        let none = none.filter(|_| kind.is_additional())?;
        if !chosen.contains(none) {
            chosen.push(none.clone());
        }
    }
    for slot in slots {
        if slot.kind == TransformType::DH && rule.ignore_groups {
            continue;
        }
        let offered = || theirs.transforms.iter().filter(|transform| transform.kind == slot.kind);
        if offered().next().is_none() {
            // No ESN transform at all means no extended sequence numbers (seen in the field).
            let plain_esn = slot.kind == TransformType::ESN && slot.ours.contains(&Transform::esn(false));
            if slot.ours.is_empty() || plain_esn {
                continue;
            }
            return None;
        }
        if slot.ours.is_empty() {
            // RFC 7296 §3.3.3: NONE stands for the absence of an optional type.
            chosen.push(offered().find(|transform| transform.id == 0)?.clone());
            continue;
        }
        let mut common = slot.ours.iter().filter(|mine| offered().any(|transform| transform == *mine));
        let pick = match rule.selection {
            Selection::LowestValue => common.min_by_key(|transform| value(transform))?,
            Selection::OurOrder => {
                let guessed = rule.guessed.map(Transform::group);
                let common: Vec<_> = common.by_ref().collect();
                *common.iter().find(|mine| guessed.as_ref() == Some(**mine)).or(common.first())?
            }
        };
        chosen.push(pick.clone());
    }
    Some(chosen)
}

/// The best combination of one of ours and one of theirs.
fn choose(
    ours: &[Vec<Slot>],
    offer: &SecurityAssociation,
    protocol: ProtocolId,
    rule: Rule,
) -> Option<Proposal> {
    let mut found: Option<(Vec<(u16, u16)>, Proposal)> = None;
    for slots in ours {
        for theirs in offer.proposals.iter().filter(|proposal| proposal.protocol == protocol) {
            let Some(transforms) = intersect(slots, theirs, rule) else { continue };
            let rank: Vec<_> = transforms.iter().map(value).collect();
            let accepted = Proposal { number: theirs.number, protocol, spi: theirs.spi.clone(), transforms };
            match rule.selection {
                Selection::OurOrder => return Some(accepted),
                Selection::LowestValue if found.as_ref().is_none_or(|(best, _)| rank < *best) => {
                    found = Some((rank, accepted));
                }
                Selection::LowestValue => {}
            }
        }
    }
    found.map(|(_, accepted)| accepted)
}

/// Whether an answer is one of our offers (RFC 7296 §2.7): one proposal, a number we used, one transform of
/// each type, all of them ours.
fn confirmed(ours: &[Vec<Slot>], answer: &SecurityAssociation, protocol: ProtocolId) -> Option<Proposal> {
    let [proposal] = answer.proposals.as_slice() else { return None };
    let index = usize::from(proposal.number).checked_sub(1)?;
    let slots = ours.get(index).filter(|_| proposal.protocol == protocol)?;
    let once = |transform: &Transform| {
        proposal.transforms.iter().filter(|other| other.kind == transform.kind).count() == 1
    };
    let rule = Rule { selection: Selection::OurOrder, guessed: None, ignore_groups: false };
    let chosen = intersect(slots, proposal, rule)?;
    (proposal.transforms.iter().all(once) && chosen.len() == proposal.transforms.len())
        .then(|| proposal.clone())
}

fn find(proposal: &Proposal, kind: TransformType) -> Option<&Transform> {
    proposal.transforms.iter().find(|transform| transform.kind == kind)
}

fn integrity(proposal: &Proposal) -> Option<Integrity> {
    find(proposal, TransformType::INTEG).and_then(|transform| IntegId(transform.id).algorithm())
}

fn group(proposal: &Proposal) -> Option<DhGroup> {
    find(proposal, TransformType::DH)
        .map(|transform| DhGroup(transform.id))
        .filter(|group| *group != DhGroup::NONE)
}

/// The additional key exchanges that are to be done: NONE leaves one out (RFC 9370 §2.2.1).
fn additional(proposal: &Proposal) -> Vec<DhGroup> {
    let method = |kind| find(proposal, kind).map(|transform| DhGroup(transform.id));
    TransformType::ADDITIONAL
        .into_iter()
        .filter_map(method)
        .filter(|method| *method != DhGroup::NONE)
        .collect()
}

fn ike_choice(accepted: Proposal) -> Option<IkeChoice> {
    let cipher = IkeCipher::from_transform(find(&accepted, TransformType::ENCR)?)?;
    let suite = Suite {
        cipher,
        prf: Prf::from_transform(find(&accepted, TransformType::PRF)?)?,
        integrity: integrity(&accepted),
        group: group(&accepted)?,
    };
    let spi = <[u8; 8]>::try_from(accepted.spi.as_slice()).ok().map(IkeSpi::from_bytes);
    // CVE-2016-5391 and its kin: a suite with a part missing is no suite.
    (cipher.is_aead() == suite.integrity.is_none()).then_some(IkeChoice {
        suite,
        additional: additional(&accepted),
        spi,
        accepted,
    })
}

fn esp_choice(accepted: Proposal) -> Option<EspChoice> {
    let cipher = match IkeCipher::from_transform(find(&accepted, TransformType::ENCR)?)? {
        IkeCipher::AesGcm16(bits) => EspCipher::AesGcm16(bits),
        IkeCipher::AesCbc(bits) => EspCipher::AesCbc(bits),
    };
    let transform = cipher.with_integrity(integrity(&accepted))?;
    let esn = find(&accepted, TransformType::ESN).is_some_and(|esn| *esn == Transform::esn(true));
    let spi = <[u8; 4]>::try_from(accepted.spi.as_slice()).ok().map(u32::from_be_bytes).and_then(Spi::new)?;
    Some(EspChoice {
        suite: EspSuite { transform, esn },
        group: group(&accepted),
        additional: additional(&accepted),
        spi,
        accepted,
    })
}

/// What we take of an offered IKE SA, as responder.
pub(crate) fn choose_ike(
    selection: Selection,
    ours: &[IkeProposal],
    offered: &SecurityAssociation,
    guessed: Option<DhGroup>,
) -> Option<IkeChoice> {
    let ours: Vec<_> = ours.iter().map(ike_slots).collect();
    let rule = Rule { selection, guessed, ignore_groups: false };
    choose(&ours, offered, ProtocolId::IKE, rule).and_then(ike_choice)
}

/// What the responder took of our offered IKE SA; `None` when it is not one of our offers.
pub(crate) fn confirm_ike(ours: &[IkeProposal], answer: &SecurityAssociation) -> Option<IkeChoice> {
    let ours: Vec<_> = ours.iter().map(ike_slots).collect();
    confirmed(&ours, answer, ProtocolId::IKE).and_then(ike_choice)
}

/// What we take of an offered child SA, as responder.
pub(crate) fn choose_esp(
    selection: Selection,
    ours: &[EspProposal],
    offered: &SecurityAssociation,
    with_groups: bool,
    guessed: Option<DhGroup>,
) -> Option<EspChoice> {
    let ours: Vec<_> = ours.iter().map(|proposal| esp_slots(proposal, with_groups)).collect();
    let rule = Rule { selection, guessed, ignore_groups: !with_groups };
    choose(&ours, offered, ProtocolId::ESP, rule).and_then(esp_choice)
}

/// What the responder took of our offered child SA; `None` when it is not one of our offers.
pub(crate) fn confirm_esp(
    ours: &[EspProposal],
    answer: &SecurityAssociation,
    with_groups: bool,
) -> Option<EspChoice> {
    let ours: Vec<_> = ours.iter().map(|proposal| esp_slots(proposal, with_groups)).collect();
    confirmed(&ours, answer, ProtocolId::ESP).and_then(esp_choice)
}

/// Groups we may use for an IKE SA, first choice first.
pub(crate) fn ike_groups(ours: &[IkeProposal]) -> Vec<DhGroup> {
    let groups = ours.iter().flat_map(|proposal| proposal.groups.iter().copied());
    unique(groups.filter(|group| crypto::is_supported(*group)))
}

/// Groups we may use for a child SA, first choice first; empty: no key exchange of its own.
pub(crate) fn esp_groups(ours: &[EspProposal]) -> Vec<DhGroup> {
    let groups = ours.iter().flat_map(|proposal| proposal.groups.iter().copied());
    unique(groups.filter(|group| crypto::is_supported(*group)))
}

fn unique(groups: impl Iterator<Item = DhGroup>) -> Vec<DhGroup> {
    let mut seen = Vec::new();
    for group in groups {
        if !seen.contains(&group) {
            seen.push(group);
        }
    }
    seen
}

/// The common part of what the peer offers and what we allow (RFC 7296 §2.9); empty: TS_UNACCEPTABLE.
pub(crate) fn narrow(offered: &[TrafficSelector], allowed: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut common: Vec<TrafficSelector> = Vec::new();
    for theirs in offered {
        for ours in allowed {
            let Some(part) = theirs.intersection(ours) else { continue };
            if common.len() < MAX_NARROWED && !common.iter().any(|known| part.is_subset_of(known)) {
                common.push(part);
            }
        }
    }
    common
}

/// Whether an answer stays within what we offered, and is not empty.
pub(crate) fn within(answer: &[TrafficSelector], offered: &[TrafficSelector]) -> bool {
    !answer.is_empty() && answer.iter().all(|part| offered.iter().any(|whole| part.is_subset_of(whole)))
}

/// Longest text about a peer's offer; what is beyond is cut off with "...".
const MAX_TEXT: usize = 512;

/// Cuts a text that a peer determines. All of it is ASCII.
fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(MAX_TEXT);
        text.push_str("...");
    }
    text
}

/// An offer in text: `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384, ...`; alternatives of one type with `|`.
pub(crate) fn describe(offer: &SecurityAssociation) -> String {
    let mut text = String::new();
    for proposal in &offer.proposals {
        if text.len() > MAX_TEXT {
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        let mut last = None;
        for transform in &proposal.transforms {
            match last {
                None => {}
                Some(kind) if kind == transform.kind => text.push('|'),
                Some(_) => text.push('/'),
            }
            last = Some(transform.kind);
            let _ = match transform.kind {
                TransformType::ENCR => write!(text, "{}", EncrId(transform.id)),
                TransformType::PRF => write!(text, "{}", PrfId(transform.id)),
                TransformType::INTEG => write!(text, "{}", IntegId(transform.id)),
                TransformType::DH => write!(text, "{}", DhGroup(transform.id)),
                kind if kind.is_additional() => write!(text, "{}", DhGroup(transform.id)),
                TransformType::ESN => write!(text, "{}", if transform.id == 0 { "NO_ESN" } else { "ESN" }),
                other => write!(text, "{other}:{}", transform.id),
            };
            if let Some(bits) = transform.key_bits() {
                let _ = write!(text, "_{bits}");
            }
        }
    }
    bounded(text)
}

/// Traffic selectors in text: `10.0.0.0/8, 192.0.2.0/24`.
pub(crate) fn describe_selectors(selectors: &[TrafficSelector]) -> String {
    let shown: Vec<_> = selectors.iter().take(MAX_NARROWED).map(ToString::to_string).collect();
    bounded(shown.join(", "))
}

#[cfg(test)]
#[path = "negotiate/tests.rs"]
mod tests;
