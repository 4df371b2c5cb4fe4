//! The symptoms that people report about AWS Site-to-Site VPN, numbered, and what becomes of each here.
//!
//! The list follows AWS's own troubleshooting pages and what users of other gateways complain about. A code names
//! the numbers that it explains; a symptom that no code explains says why nobody meets it.

/// One symptom.
#[derive(Clone, Copy, Debug)]
pub struct Symptom {
    /// From 1.
    pub number: u8,
    /// What somebody sees.
    pub text: &'static str,
    /// What this gateway does about it by itself; may be empty.
    pub note: &'static str,
}

const fn of(number: u8, text: &'static str, note: &'static str) -> Symptom {
    Symptom { number, text, note }
}

/// All of them, in the order of the ladder.
pub const ALL: [Symptom; 36] = [
    of(1, "No answer to IKE_SA_INIT", ""),
    of(2, "AWS logs \"Timeout: deleting un-established Phase 1 IKE_SA\"", ""),
    of(3, "NO_PROPOSAL_CHOSEN in phase 1; \"No Proposal Match Found by AWS\"", ""),
    of(
        4,
        "INVALID_KE_PAYLOAD",
        "The attempt is repeated with the group that AWS names; only a group that the configuration forbids is a finding.",
    ),
    of(
        5,
        "AUTHENTICATION_FAILED; \"pre-shared key mismatch with cgw\"",
        "When all tunnels of a connection fail, each other's keys are tried.",
    ),
    of(
        6,
        "A connection with certificates: AUTHENTICATION_FAILED",
        "Certificates are not supported; `import` and the AWS file say so.",
    ),
    of(
        7,
        "Both sides initiate, IKE SAs pile up",
        "INITIAL_CONTACT is sent and one SA is kept; nothing to do.",
    ),
    of(8, "AWS allows IKEv1 only", ""),
    of(9, "\"Phase 2 was unable to establish while keeping Phase 1\"", ""),
    of(10, "TS_UNACCEPTABLE", ""),
    of(
        11,
        "The tunnel drops about an hour after it came up",
        "We rekey before AWS does, so that a refusal is seen while the old SA still carries traffic.",
    ),
    of(
        12,
        "\"(CHILD_REKEY) collision as CHILD_DELETE\", \"redundant SA is being deleted\"",
        "Both sides rekeyed at once; settled by RFC 7296 section 2.8.1 without a lost packet. No finding: nothing is wrong.",
    ),
    of(
        13,
        "\"received DELETE for Phase 2 SA / IKE_SA from CGW\"",
        "The events say which side deleted: IKE-CLOSED and IPSEC-REKEYED are ours, PEER-DELETED is AWS's.",
    ),
    of(
        14,
        "Many SAs, and only one of them passes traffic",
        "This gateway is route-based and makes one pair per tunnel.",
    ),
    of(15, "Packets are dropped as replays", ""),
    of(16, "The SAs are up, and AWS's inside address does not answer", ""),
    of(17, "The inside address answers, hosts in the VPC do not", ""),
    of(
        18,
        "TunnelDataIn on one tunnel, TunnelDataOut on the other",
        "Packets are accepted on every tunnel, and rp_filter is loosened.",
    ),
    of(
        19,
        "Small packets pass, large ones hang",
        "The MTU is computed, the MSS clamped, DF cleared and packets fragmented before encryption.",
    ),
    of(20, "A static connection: AWS has no way back", ""),
    of(
        21,
        "Routes at AWS stay although the tunnel is dead",
        "The probes here notice within seconds and take the other tunnel.",
    ),
    of(22, "BGP stays in Connect or Active", ""),
    of(23, "OPEN is refused, 2/2 bad peer AS", ""),
    of(24, "Idle after Cease 6/1", "Prefixes beyond the limit are not announced in the first place."),
    of(25, "The BGP hold timer ran out", ""),
    of(26, "BGP is established, and there are no prefixes", ""),
    of(
        27,
        "\"DENIED: as-path contains our own AS\"",
        "Equal AS numbers on both sides are refused by `check`.",
    ),
    of(28, "\"DENIED: non-connected next-hop\"", "The next hop announced is always our inside address."),
    of(29, "The console says DOWN although IPsec is up", ""),
    of(30, "The tunnel goes down when it is idle", "An echo request every second keeps it busy."),
    of(31, "After AWS's maintenance the tunnel stays down", "The daemon begins again for ever."),
    of(32, "Both tunnels go down together after a change at AWS", ""),
    of(33, "The tunnel breaks every so many minutes behind a NAT", "NAT keep-alives are sent every 20 s."),
    of(34, "DPD timed out after so many retransmits", ""),
    of(35, "Only one tunnel is in use", ""),
    of(
        36,
        "AWS's preferred tunnel is ignored",
        "All tunnels have the same local preference and AWS's MED decides, unless `local_preference`, `bgp_med` or `bgp_prepend` is set by hand: then `check` warns (CFG-STEERING). See docs/routing.md.",
    ),
];
