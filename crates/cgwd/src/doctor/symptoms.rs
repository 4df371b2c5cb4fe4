//! The symptoms that people report about AWS Site-to-Site VPN, numbered, and what becomes of each here.
//!
//! The list follows AWS's own troubleshooting pages and what users of other gateways complain about. A code names
//! the numbers that it explains; a symptom that no code explains says why nobody meets it.

/// Whether the interoperability suite shows a symptom with real peers.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// This test produces it, and this code is named first.
    Named {
        /// The code.
        code: &'static str,
        /// The test's name in `tests/interop/doctor/`.
        test: &'static str,
    },
    /// This test produces it; it is settled without a finding, because nothing is wrong.
    Settled {
        /// The test's name in `tests/interop/doctor/`.
        test: &'static str,
    },
}

/// One symptom.
#[derive(Clone, Copy, Debug)]
pub struct Symptom {
    /// From 1.
    pub number: u8,
    /// What somebody sees.
    pub text: &'static str,
    /// What this gateway does about it by itself; may be empty.
    pub note: &'static str,
    /// How the suite shows it.
    pub shown: Shown,
}

const fn of(number: u8, shown: Shown, text: &'static str, note: &'static str) -> Symptom {
    Symptom { number, text, note, shown }
}

const fn named(code: &'static str, test: &'static str) -> Shown {
    Shown::Named { code, test }
}

const fn settled(test: &'static str) -> Shown {
    Shown::Settled { test }
}

/// All of them, in the order of the ladder.
pub const ALL: [Symptom; 36] = [
    of(1, named("IKE-NO-ANSWER", "symptom_01_a_blocked_udp_500_is_named"), "No answer to IKE_SA_INIT", ""),
    of(
        2,
        named("IKE-AUTH-NO-ANSWER", "symptom_02_a_blocked_udp_4500_is_named"),
        "AWS logs \"Timeout: deleting un-established Phase 1 IKE_SA\"",
        "",
    ),
    of(
        3,
        named("IKE-NO-PROPOSAL", "symptom_03_no_common_phase_1_algorithms_are_named"),
        "NO_PROPOSAL_CHOSEN in phase 1; \"No Proposal Match Found by AWS\"",
        "",
    ),
    of(
        4,
        settled("symptom_04_another_group_at_the_first_try_is_nothing_to_complain_about"),
        "INVALID_KE_PAYLOAD",
        "The attempt is repeated with the group that AWS names; only a group that the configuration forbids is a finding.",
    ),
    of(
        5,
        named("IKE-AUTH-FAILED", "symptom_05_a_wrong_key_is_named_first_and_the_rest_folded_under_it"),
        "AUTHENTICATION_FAILED; \"pre-shared key mismatch with cgw\"",
        "When all tunnels of a connection fail, each other's keys are tried.",
    ),
    of(
        6,
        named("AWS-NO-KEY", "symptom_06_a_peer_that_wants_a_certificate_is_named"),
        "A connection with certificates: AUTHENTICATION_FAILED",
        "The peer's chain and identity are checked one after the other, and the first that fails is named.",
    ),
    of(
        7,
        settled("symptom_07_both_sides_beginning_is_nothing_to_complain_about"),
        "Both sides initiate, IKE SAs pile up",
        "INITIAL_CONTACT is sent and one SA is kept; nothing to do.",
    ),
    of(
        8,
        named("IKE-VERSION", "symptom_08_a_peer_that_speaks_ikev1_only_is_named"),
        "AWS allows IKEv1 only",
        "",
    ),
    of(
        9,
        named("IPSEC-NO-PROPOSAL", "symptom_09_no_common_phase_2_algorithms_are_named"),
        "\"Phase 2 was unable to establish while keeping Phase 1\"",
        "",
    ),
    of(
        10,
        named("IPSEC-TS-UNACCEPTABLE", "symptom_10_selectors_without_anything_in_common_are_named"),
        "TS_UNACCEPTABLE",
        "",
    ),
    of(
        11,
        named("IPSEC-REKEY-FAILED", "symptom_11_a_group_that_only_the_rekey_meets_is_named"),
        "The tunnel drops about an hour after it came up",
        "We rekey before AWS does, so that a refusal is seen while the old SA still carries traffic.",
    ),
    of(
        12,
        settled("symptom_12_both_sides_rekeying_at_once_is_nothing_to_complain_about"),
        "\"(CHILD_REKEY) collision as CHILD_DELETE\", \"redundant SA is being deleted\"",
        "Both sides rekeyed at once; settled by RFC 7296 section 2.8.1 without a lost packet. No finding: nothing is wrong.",
    ),
    of(
        13,
        named("TUN-DELETED-OFTEN", "symptom_13_goodbyes_again_and_again_are_named"),
        "\"received DELETE for Phase 2 SA / IKE_SA from CGW\"",
        "The events say which side deleted: IKE-CLOSED and IPSEC-REKEYED are ours, PEER-DELETED is AWS's.",
    ),
    of(
        14,
        named("IPSEC-SEVERAL-SELECTORS", "symptom_14_several_selectors_where_aws_has_one_pair_are_named"),
        "Many SAs, and only one of them passes traffic",
        "This gateway is route-based and makes one pair per tunnel.",
    ),
    of(
        15,
        named("IPSEC-REPLAY", "symptom_15_repeated_packets_are_named"),
        "Packets are dropped as replays",
        "",
    ),
    of(
        16,
        named("IPSEC-ESP-BLOCKED", "symptom_16_blocked_esp_beside_a_living_ike_is_named"),
        "The SAs are up, and AWS's inside address does not answer",
        "",
    ),
    of(
        17,
        named(
            "VPC-NO-RETURN",
            "symptoms_17_and_20_packets_that_do_not_come_back_are_named_with_what_to_check_at_aws",
        ),
        "The inside address answers, hosts in the VPC do not",
        "",
    ),
    of(
        18,
        named("HOST-RP-FILTER", "symptom_18_a_strict_reverse_path_filter_is_named"),
        "TunnelDataIn on one tunnel, TunnelDataOut on the other",
        "Packets are accepted on every tunnel, and rp_filter is loosened.",
    ),
    of(
        19,
        named("UND-MTU", "symptom_19_a_way_that_is_too_narrow_is_named"),
        "Small packets pass, large ones hang",
        "The MTU is computed, the MSS clamped, DF cleared and packets fragmented before encryption.",
    ),
    of(
        20,
        named(
            "AWS-STATIC-ROUTE-MISSING",
            "symptoms_17_and_20_packets_that_do_not_come_back_are_named_with_what_to_check_at_aws",
        ),
        "A static connection: AWS has no way back",
        "",
    ),
    of(
        21,
        named("IKE-NO-ANSWER", "symptoms_21_31_and_34_a_dead_endpoint_is_named"),
        "Routes at AWS stay although the tunnel is dead",
        "The probes here notice within seconds and take the other tunnel.",
    ),
    of(
        22,
        named("BGP-NOT-ESTABLISHED", "symptoms_22_and_29_a_session_that_nobody_answers_is_named"),
        "BGP stays in Connect or Active",
        "",
    ),
    of(
        23,
        named("BGP-BAD-AS", "symptom_23_another_as_number_is_named"),
        "OPEN is refused, 2/2 bad peer AS",
        "",
    ),
    of(
        24,
        named("BGP-PREFIX-LIMIT", "symptom_24_more_prefixes_than_the_peer_takes_are_named"),
        "Idle after Cease 6/1",
        "Prefixes beyond the limit are not announced in the first place.",
    ),
    of(
        25,
        named("BGP-HOLD-EXPIRED", "symptom_25_a_neighbour_that_falls_silent_is_named"),
        "The BGP hold timer ran out",
        "",
    ),
    of(
        26,
        named("BGP-NO-PREFIXES", "symptom_26_a_session_without_prefixes_is_named"),
        "BGP is established, and there are no prefixes",
        "",
    ),
    of(
        27,
        named("CONFIG-INVALID", "symptom_27_equal_as_numbers_are_named_before_anything_starts"),
        "\"DENIED: as-path contains our own AS\"",
        "Equal AS numbers on both sides are refused by `check`.",
    ),
    of(
        28,
        named("AWS-NOTHING-ACCEPTED", "symptom_28_prefixes_that_aws_denies_are_named"),
        "\"DENIED: non-connected next-hop\"",
        "The next hop announced is always our inside address.",
    ),
    of(
        29,
        named("BGP-NOT-ESTABLISHED", "symptoms_22_and_29_a_session_that_nobody_answers_is_named"),
        "The console says DOWN although IPsec is up",
        "",
    ),
    of(
        30,
        named("TUN-NO-PROBE", "symptom_30_a_tunnel_that_nothing_keeps_busy_is_named"),
        "The tunnel goes down when it is idle",
        "An echo request every second keeps it busy.",
    ),
    of(
        31,
        named("AWS-NOBODY-BEGINS", "symptom_31_two_sides_that_wait_for_each_other_are_named"),
        "After AWS's maintenance the tunnel stays down",
        "The daemon begins again for ever.",
    ),
    of(
        32,
        named("AWS-REPROVISIONS", "symptom_32_a_goodbye_on_both_tunnels_is_named_as_one_thing"),
        "Both tunnels go down together after a change at AWS",
        "",
    ),
    of(
        33,
        named("UND-NAT-TIMEOUT", "symptom_33_a_nat_that_forgets_at_a_regular_pace_is_named"),
        "The tunnel breaks every so many minutes behind a NAT",
        "NAT keep-alives are sent every 20 s.",
    ),
    of(34, named("TUN-LOSS", "symptom_34_losses_are_named"), "DPD timed out after so many retransmits", ""),
    of(
        35,
        named("REDUNDANCY-SINGLE", "symptom_35_a_single_tunnel_is_named"),
        "Only one tunnel is in use",
        "",
    ),
    of(
        36,
        named("BGP-STEERING", "symptom_36_a_preference_that_defeats_awss_is_named"),
        "AWS's preferred tunnel is ignored",
        "All tunnels have the same local preference and AWS's MED decides, unless `local_preference`, `bgp_med` or `bgp_prepend` is set by hand: then `check` warns (CFG-STEERING), and the doctor says when that defeats AWS. See docs/routing.md.",
    ),
];
