//! Which algorithms to ask for, from what AWS allows.
//!
//! AWS takes the lowest value that both sides allow (*Tunnel options*), so the file names one narrow set: the
//! best of what is allowed when the lists are known, and a set that AWS allows by default when they are not.
//! What a download prints is AWS's minimum, and never copied.

use super::draft::{At, Context, Options, Phase};
use crate::{DhGroup, EncryptionAlgorithm, IntegrityAlgorithm};

/// Groups to ask for when AWS's list is unknown: all strong, and one of them in every sensible list.
const BLIND_GROUPS: [u16; 3] = [20, 19, 14];

/// What one phase asks for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) encryption: EncryptionAlgorithm,
    pub(super) integrity: IntegrityAlgorithm,
    pub(super) groups: Vec<DhGroup>,
    /// Names of what is weak and unavoidable.
    pub(super) weak: Vec<String>,
}

/// Phase 1's and phase 2's.
pub(super) struct Choice {
    pub(super) ike: Offer,
    pub(super) esp: Offer,
}

/// Chooses; errors go to the report.
pub(super) fn choose(options: &Options, tunnel: &str, cx: &mut Context<'_>) -> Option<Choice> {
    let ike = offer(&options.phase1, options.known, true, tunnel, cx);
    let esp = offer(&options.phase2, options.known, false, tunnel, cx);
    Some(Choice { ike: ike?, esp: esp? })
}

fn offer(phase: &Phase, known: bool, phase1: bool, tunnel: &str, cx: &mut Context<'_>) -> Option<Offer> {
    let name = if phase1 { "Phase1" } else { "Phase2" };
    let encryption = best(
        phase.encryption.as_ref(),
        &EncryptionAlgorithm::ALL,
        EncryptionAlgorithm::from_name,
        &format!("{name}EncryptionAlgorithms of {tunnel}"),
        cx,
    );
    let integrity = best(
        phase.integrity.as_ref(),
        &IntegrityAlgorithm::ALL,
        IntegrityAlgorithm::from_name,
        &format!("{name}IntegrityAlgorithms of {tunnel}"),
        cx,
    );
    let groups = if known {
        group(phase.groups.as_ref(), phase1, &format!("{name}DHGroupNumbers of {tunnel}"), cx)
            .map(|g| vec![g])
    } else {
        Some(BLIND_GROUPS.into_iter().filter_map(DhGroup::new).collect())
    };
    let (encryption, integrity, groups) = (encryption?, integrity?, groups?);
    let mut weak = Vec::new();
    // Phase 1 uses the hash for its PRF even beside GCM; phase 2 only beside CBC.
    if integrity.is_weak() && (phase1 || !encryption.is_aead()) {
        weak.push(integrity.name().to_owned());
    }
    weak.extend(groups.iter().filter(|g| g.is_weak()).map(|g| format!("group {g} ({})", g.name())));
    Some(Offer { encryption, integrity, groups, weak })
}

/// The best of `ranked` that is allowed; all are when there is no list.
fn best<T: Copy + PartialEq>(
    allowed: Option<&At<Vec<String>>>,
    ranked: &[T],
    from_name: impl Fn(&str) -> Option<T>,
    what: &str,
    cx: &mut Context<'_>,
) -> Option<T> {
    let Some(allowed) = allowed else { return ranked.first().copied() };
    let known: Vec<T> = allowed.value.iter().filter_map(|name| from_name(name)).collect();
    let found = ranked.iter().copied().find(|algorithm| known.contains(algorithm));
    if found.is_none() {
        let message = format!("{what} allow nothing that cgwd has: {}", allowed.value.join(", "));
        cx.error(
            allowed.span.clone(),
            "IMP-ALGORITHM",
            message,
            "allow AES256-GCM-16, SHA2-384 and group 20 at AWS",
        );
    }
    found
}

fn group(allowed: Option<&At<Vec<u16>>>, phase1: bool, what: &str, cx: &mut Context<'_>) -> Option<DhGroup> {
    // Group 31 is not AWS's, and 5 is in its phase 2 only.
    let usable = |g: &DhGroup| g.number() != 31 && !(phase1 && g.number() == 5);
    let mut ranked = DhGroup::ALL.into_iter().filter(usable);
    let Some(allowed) = allowed else { return ranked.next() };
    let found = ranked.find(|group| allowed.value.contains(&group.number()));
    if found.is_none() {
        let numbers: Vec<String> = allowed.value.iter().map(u16::to_string).collect();
        let message = format!("{what} allow only {}, which cgwd does not have", numbers.join(", "));
        let remedy = "allow group 20 at AWS too (RFC 8247 §2.4 advises against groups 22 to 24)";
        cx.error(allowed.span.clone(), "IMP-ALGORITHM", message, remedy);
    }
    found
}
