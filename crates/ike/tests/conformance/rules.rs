//! Published attacks and the traps of the RFCs, each with the tests that carry it out.

/// What became of a row.
pub(crate) enum Outcome {
    /// Names of tests.
    Tested(&'static [&'static str]),
    /// Cannot happen here, and why.
    Never(&'static str),
}
use Outcome::{Never, Tested};

/// Where it comes from, what must hold, and what became of it.
pub(crate) type Row = (&'static str, &'static str, Outcome);

/// Security bugs of other IKE daemons.
pub(crate) const ATTACKS: &[Row] = &[
    (
        "CVE-2014-2338",
        "before AUTH is verified only IKE_AUTH is processed",
        Tested(&["cve_2014_2338_rekey_before_auth_changes_nothing"]),
    ),
    (
        "CVE-2019-12312",
        "no answer needs keys that are not there, for any exchange type in any state",
        Tested(&["cve_2019_12312_no_exchange_type_in_any_state_needs_keys_that_are_not_there"]),
    ),
    (
        "CVE-2019-10155",
        "a protected message with one bit changed is dropped",
        Tested(&[
            "cve_2019_10155_an_informational_without_a_good_icv_is_not_looked_at",
            "any_flipped_bit_of_a_protected_message_changes_nothing",
        ]),
    ),
    (
        "CVE-2023-41913",
        "a public value of another length is refused before arithmetic",
        Tested(&[
            "cve_2023_41913_a_public_value_of_any_other_length_is_refused_before_arithmetic",
            "a_useless_public_value_costs_no_key_pair",
        ]),
    ),
    (
        "CVE-2014-9221",
        "every number of a group has an answer",
        Tested(&["cve_2014_9221_every_number_of_a_group_has_an_answer"]),
    ),
    (
        "CVE-2015-3240",
        "degenerate public values are refused (RFC 6989)",
        Tested(&[
            "cve_2015_3240_degenerate_public_values_are_refused_in_every_group_and_leave_no_state",
            "x25519_agrees_with_wycheproof_and_refuses_every_zero_secret",
            "ecdh_with_raw_points_agrees_with_wycheproof",
        ]),
    ),
    (
        "CVE-2013-2944, 2018-16151, 2018-16152, 2018-17540, 2026-50722, 2026-50721",
        "a bad signature is never a good one",
        Tested(&[
            "cve_2013_2944_2018_16151_2018_16152_2018_17540_a_bad_signature_is_never_a_good_one",
            "cve_2018_17540_2026_50722_2026_50721_small_keys_and_odd_keys_are_refused_before_they_verify",
            "rsa_pkcs1_agrees_with_wycheproof",
            "ecdsa_in_der_and_as_two_numbers_agrees_with_wycheproof",
        ]),
    ),
    (
        "CVE-2018-6459, 2021-41990",
        "RSASSA-PSS parameters by an exact list",
        Tested(&[
            "cve_2018_6459_2021_41990_algorithm_identifiers_are_exact_or_refused",
            "rsa_pss_agrees_with_wycheproof_for_a_salt_as_long_as_the_hash",
        ]),
    ),
    (
        "CVE-2021-41991",
        "bounded certificate caches",
        Tested(&[
            "cve_2021_41991_certificates_are_bounded_in_number_and_size_and_none_is_kept",
            "cve_2021_41991_a_maze_of_intermediates_ends",
        ]),
    ),
    (
        "CVE-2022-40617",
        "nothing is fetched for a certificate before its chain is trusted",
        Tested(&["cve_2022_40617_nothing_is_fetched_hash_and_url_is_refused"]),
    ),
    (
        "CVE-2015-4171",
        "nothing of ours is shown before the peer is authenticated",
        Tested(&["cve_2015_4171_nothing_of_ours_is_shown_to_who_did_not_authenticate_first"]),
    ),
    (
        "CVE-2021-45079, 2023-26463, 2015-8023",
        "without AUTH nothing is established; no EAP, no NULL authentication",
        Tested(&[
            "cve_2021_45079_2023_26463_2015_8023_without_auth_nothing_is_ever_established",
            "cve_2021_45079_other_authentication_methods_prove_nothing",
        ]),
    ),
    (
        "CVE-2013-6075",
        "identities are compared by type and every octet",
        Tested(&["cve_2013_6075_an_identity_is_compared_by_type_and_every_octet"]),
    ),
    (
        "CVE-2013-6076, 2016-1287, 2016-1344, 2026-12413",
        "fragments of any numbering do no harm",
        Tested(&[
            "cve_2013_6076_2016_1287_2026_12413_fragments_of_any_numbering_change_nothing_unless_negotiated",
            "cve_2013_6076_2016_1287_2026_12413_reassembly_is_bounded_in_number_octets_and_time",
            "fragment_numbers_run_from_one_to_the_total",
            "fragments_come_together_in_any_order_and_only_as_one_whole_set",
        ]),
    ),
    (
        "CVE-2015-3991",
        "another major version is never read as ours",
        Tested(&["cve_2015_3991_another_major_version_is_never_read_as_ours"]),
    ),
    (
        "CVE-2018-10811, 2016-3071",
        "whatever can be negotiated can be run",
        Tested(&["cve_2018_10811_2016_3071_whatever_can_be_negotiated_can_be_run"]),
    ),
    (
        "CVE-2016-5361",
        "a responder never speaks unasked and never amplifies",
        Tested(&["cve_2016_5361_a_responder_never_speaks_unasked_and_never_amplifies"]),
    ),
    (
        "CVE-2020-1763, 2022-23094",
        "everything received can be printed",
        Tested(&["cve_2020_1763_2022_23094_everything_received_can_be_printed"]),
    ),
    (
        "CVE-2023-23009",
        "malformed traffic selectors get INVALID_SYNTAX and no child",
        Tested(&["cve_2023_23009_malformed_traffic_selectors_get_invalid_syntax_and_no_child"]),
    ),
    (
        "CVE-2023-38710",
        "REKEY_SA with any protocol and SPI size is answered",
        Tested(&["cve_2023_38710_rekey_sa_with_any_protocol_and_spi_size_is_answered"]),
    ),
    (
        "CVE-2024-2357",
        "every failed authentication is cleared away, its repeat answered alike",
        Tested(&["cve_2024_2357_every_failed_authentication_is_cleared_away_and_its_repeat_answered_alike"]),
    ),
    (
        "CVE-2024-3652, 2023-30570",
        "an IKEv1 header is dropped before anything is read or kept",
        Tested(&["cve_2024_3652_2023_30570_an_ikev1_header_is_dropped_before_anything_is_read_or_kept"]),
    ),
    (
        "CVE-2016-5391",
        "an IKE proposal with a part missing is refused",
        Tested(&["cve_2016_5391_an_ike_proposal_with_a_part_missing_is_refused"]),
    ),
    (
        "CVE-2013-6467",
        "any payload may be missing from any message",
        Tested(&[
            "cve_2013_6467_any_payload_may_be_missing_from_any_message",
            "a_first_request_without_one_of_its_payloads_is_refused_without_state",
        ]),
    ),
    (
        "CVE-2013-4564",
        "datagrams shorter than they say, or than a header, are dropped",
        Tested(&["cve_2013_4564_datagrams_shorter_than_they_say_or_than_a_header_are_dropped"]),
    ),
    (
        "CVE-2023-38712",
        "a DELETE may name what the same message already deleted",
        Tested(&["cve_2023_38712_a_delete_may_name_what_the_same_message_already_deleted"]),
    ),
    (
        "CVE-2026-14957",
        "no assertion or unwrap is left in the sources",
        Tested(&["cve_2026_14957_no_assertion_or_unwrap_is_left_in_the_sources"]),
    ),
    (
        "CVE-2015-3204",
        "reserved bits are ignored, any Next Payload is survived",
        Tested(&["cve_2015_3204_reserved_bits_are_ignored_and_any_next_payload_is_survived"]),
    ),
    (
        "libreswan issue 67",
        "DELETE payloads of any order and number are taken",
        Tested(&["libreswan_issue_67_deletes_of_any_order_and_number_are_taken"]),
    ),
    (
        "CVE-2022-46397 (VPP)",
        "no IV repeats, and CBC IVs are random",
        Tested(&[
            "cve_2022_46397_no_iv_repeats_and_cbc_ivs_are_random",
            "no_iv_is_used_twice_and_cbc_ivs_are_not_predictable",
        ]),
    ),
    (
        "VPP ab63c83, c3f677c, 58e3a98, 98d6f29, 7c8644c, a0951d4",
        "lengths of TS, NAT detection and messages, empty notifications, message IDs",
        Tested(&[
            "cve_2023_23009_malformed_traffic_selectors_get_invalid_syntax_and_no_child",
            "rfc7296_2_23_nat_detection_hashes_cover_spis_address_and_port_and_one_of_several_may_match",
            "cve_2013_4564_datagrams_shorter_than_they_say_or_than_a_header_are_dropped",
            "rfc7296_2_3_a_request_outside_the_window_is_dropped",
        ]),
    ),
    (
        "VPP 6afaae15",
        "anti-replay with extended sequence numbers across 2^32",
        Tested(&[
            "extended_numbers_cross_2_to_the_32_and_arrive_late_across_it",
            "scapy_opens_what_we_seal",
            "we_open_what_scapy_seals",
        ]),
    ),
    (
        "OpenBSD iked errata 027 and 033",
        "no out-of-bounds read, no state machine without an answer",
        Tested(&[
            "random_mutations_of_protected_messages_change_nothing_and_panic_nowhere",
            "random_authentic_nonsense_never_panics_and_never_grows_without_limit",
        ]),
    ),
    (
        "OpenIKED befeaef, baf0c8e",
        "nothing moves before the ICV is good",
        Tested(&["openiked_befeaef_baf0c8e_nothing_moves_before_the_icv_is_good"]),
    ),
    (
        "OpenIKED 7bd8441",
        "the right nonces are compared in a collision",
        Tested(&[
            "case_05_both_rekey_and_agree_on_the_loser",
            "case_29_both_rekey_and_agree_on_the_loser",
            "case_g_equal_nonces_still_have_one_winner",
            "a_nonce_that_is_a_prefix_of_the_other_is_the_lower_one",
        ]),
    ),
    (
        "CVE-2025-9242 (WatchGuard)",
        "identities of any length are compared and refused",
        Tested(&["cve_2025_9242_identities_of_any_length_are_compared_and_refused"]),
    ),
    (
        "CVE-2023-28771 (Zyxel)",
        "what a peer calls itself is escaped wherever it is printed",
        Tested(&["cve_2023_28771_what_a_peer_calls_itself_is_escaped_wherever_it_is_printed"]),
    ),
    (
        "CVE-2025-20182 (Cisco), 2022-21889 (Windows)",
        "no datagram costs or says more than its share",
        Tested(&[
            "cve_2025_20182_2022_21889_no_datagram_costs_or_says_more_than_its_share",
            "strangers_without_a_common_proposal_do_not_fill_the_log",
            "an_authenticated_peer_cannot_grow_us_either",
            "a_flood_of_100_000_first_requests_leaves_the_tunnel_alone_and_memory_bounded",
            "a_flood_that_returns_its_cookies_is_bounded_too",
        ]),
    ),
    (
        "USENIX Security 2018",
        "a weak pre-shared key is warned of: an active attacker can guess at leisure",
        Tested(&["a_key_that_can_be_guessed_is_warned_of_and_not_shown"]),
    ),
    (
        "Deviation attack (hal-01980276)",
        "a proven but unexpected identity leaves no state",
        Tested(&["deviation_attack_hal_01980276_a_proven_but_unexpected_identity_leaves_no_state"]),
    ),
    (
        "Reflection",
        "an endpoint never talks to itself, even when both sides share one identity",
        Tested(&["reflection_an_endpoint_never_talks_to_itself"]),
    ),
    (
        "CVE-2025-62291, 2026-25075, 2026-35328 to 2026-35334",
        "EAP, TLS, PKCS#7, RADIUS",
        Never("none of them is here"),
    ),
    (
        "Everything at once",
        "every message of a life, cut, altered, replayed, misaddressed, changes nothing",
        Tested(&[
            "every_message_of_a_life_is_safe_from_truncation_forgery_replay_and_wrong_spis_from_anywhere",
            "any_truncation_or_extension_changes_nothing",
            "any_replay_is_answered_with_the_same_octets_or_not_at_all_and_changes_nothing",
        ]),
    ),
];

/// What RFCs demand and implementations get wrong, by section.
pub(crate) const TRAPS: &[Row] = &[
    (
        "RFC 7296 §2.1",
        "only the requester repeats; a repeat is answered with the identical octets, a refused IKE_AUTH too",
        Tested(&[
            "rfc7296_2_1_a_repeated_request_gets_the_identical_octets_and_has_no_effect",
            "rfc7296_2_1_only_the_requester_repeats",
            "rfc7296_2_1_a_refused_ike_auth_is_answered_again_for_a_while",
        ]),
    ),
    (
        "RFC 7296 §2.2",
        "message IDs count from zero in each direction, anew in a new IKE SA, and never wrap",
        Tested(&[
            "rfc7296_2_2_message_ids_count_from_zero_in_each_direction_and_anew_in_a_new_ike_sa",
            "rfc7296_2_2_message_ids_never_wrap",
        ]),
    ),
    (
        "RFC 7296 §2.3",
        "a window of one each way; our request may be open while we answer theirs",
        Tested(&[
            "rfc7296_2_3_our_request_may_be_open_while_we_answer_theirs",
            "rfc7296_2_3_a_request_outside_the_window_is_dropped",
        ]),
    ),
    (
        "RFC 7296 §2.4",
        "death only from silence to a protected request; messages in the clear are hints; ESP is a sign of life",
        Tested(&[
            "rfc7296_2_4_nothing_in_the_clear_ends_an_ike_sa",
            "rfc7296_2_4_death_is_concluded_only_from_an_unanswered_protected_request",
        ]),
    ),
    (
        "RFC 7296 §2.5",
        "critical bit, minor version, order of payloads",
        Tested(&[
            "rfc7296_2_5_unknown_payloads_are_skipped_unless_critical_inside_sk_too",
            "rfc7296_2_5_the_critical_bit_of_known_types_and_the_minor_version_are_ignored",
            "rfc7296_2_5_payloads_may_come_in_any_order",
        ]),
    ),
    (
        "RFC 7296 §2.6",
        "the cookie comes first, all else unchanged; it is bound to its initiator and grows old",
        Tested(&[
            "rfc7296_2_6_the_cookie_comes_first_and_all_else_is_repeated_unchanged",
            "rfc7296_2_6_a_cookie_is_bound_to_nonce_address_and_spi_and_grows_old",
        ]),
    ),
    (
        "RFC 7296 §2.6.1",
        "COOKIE and INVALID_KE_PAYLOAD in either order keep the cookie, and come to an end",
        Tested(&["rfc7296_2_6_1_cookie_and_invalid_ke_in_either_order_keep_the_cookie_and_end"]),
    ),
    (
        "RFC 7296 §2.7",
        "the answer is one of our offers, one transform of each type, the right key length",
        Tested(&["rfc7296_2_7_an_answer_that_is_not_one_of_our_offers_is_refused_everywhere"]),
    ),
    (
        "RFC 7296 §2.8",
        "lifetimes have jitter and are not negotiated; the old is deleted after the new works",
        Tested(&[
            "rfc7296_2_8_lifetimes_have_jitter_are_not_negotiated_and_the_old_is_deleted_after_the_new_works",
        ]),
    ),
    (
        "RFC 7296 §2.8.1, §2.8.2",
        "the lowest of four nonces loses; children move only to the winner",
        Tested(&["case_05_both_rekey_and_agree_on_the_loser", "case_29_both_rekey_and_agree_on_the_loser"]),
    ),
    (
        "RFC 7296 §2.9",
        "an answer lies within our selectors, and ours within theirs",
        Tested(&["rfc7296_2_9_an_answer_must_lie_within_our_selectors_and_ours_within_theirs"]),
    ),
    (
        "RFC 7296 §2.10",
        "nonces are fresh, and long enough for every PRF that we offer; the peer's have 16 to 256 octets",
        Tested(&["rfc7296_2_10_nonces_are_fresh_and_long_enough_for_every_prf_offered"]),
    ),
    (
        "RFC 7296 §2.11",
        "an answer goes to where its request came from",
        Tested(&["rfc7296_2_11_an_answer_goes_to_where_its_request_came_from"]),
    ),
    (
        "RFC 7296 §2.13",
        "prf+ is a chain of at most 255 blocks",
        Tested(&["rfc7296_2_13_prf_plus_is_a_chain_of_at_most_255_blocks"]),
    ),
    (
        "RFC 7296 §2.14",
        "keys in the order d, ai, ar, ei, er, pi, pr",
        Tested(&["rfc7296_2_14_keys_are_cut_in_the_order_d_ai_ar_ei_er_pi_pr"]),
    ),
    (
        "RFC 5282 §7.1, §8",
        "an AEAD has no integrity key, four octets of salt, and takes no integrity algorithm",
        Tested(&["rfc5282_7_1_an_aead_has_no_integrity_key_and_four_octets_of_salt"]),
    ),
    (
        "RFC 7296 §2.15",
        "AUTH is over the exact octets of the last request sent, the peer's nonce and the identity",
        Tested(&[
            "rfc7296_2_15_auth_is_over_the_last_request_sent_after_cookie_and_invalid_ke",
            "rfc7296_2_15_auth_covers_message_nonce_identity_and_direction",
        ]),
    ),
    (
        "RFC 7296 §2.17",
        "KEYMAT: initiator of the exchange first, g^ir in front of the nonces",
        Tested(&["rfc7296_2_17_child_keys_are_initiators_first_and_pfs_comes_first_in_the_seed"]),
    ),
    (
        "RFC 7296 §2.18",
        "an IKE rekey uses the old SK_d with the old PRF",
        Tested(&["rfc7296_2_18_an_ike_rekey_uses_the_old_sk_d_with_the_old_prf_and_numbers_from_zero"]),
    ),
    (
        "RFC 7296 §2.19",
        "a Configuration payload is ignored",
        Tested(&["rfc7296_2_19_a_configuration_payload_is_ignored"]),
    ),
    (
        "RFC 7296 §2.21",
        "errors: a stranger's never kills, a refused child leaves the IKE SA, INVALID_SYNTAX inside SK is fatal",
        Tested(&[
            "rfc7296_2_21_1_an_unauthenticated_error_never_ends_an_attempt_that_can_succeed",
            "rfc7296_2_21_2_a_refused_child_leaves_the_ike_sa_and_auth_failure_is_inside_sk",
            "rfc7296_2_21_3_invalid_syntax_inside_sk_is_fatal_and_answered",
            "rfc7296_2_21_4_a_message_of_an_unknown_ike_sa_gets_no_answer",
        ]),
    ),
    (
        "RFC 7296 §2.22",
        "neither IPComp nor transport mode",
        Tested(&["rfc7296_2_22_ipcomp_and_transport_mode_are_neither_offered_nor_taken"]),
    ),
    (
        "RFC 7296 §2.23",
        "NAT detection, the float to 4500, marker and keepalive; only an authenticated packet moves the path",
        Tested(&[
            "rfc7296_2_23_nat_detection_hashes_cover_spis_address_and_port_and_one_of_several_may_match",
            "rfc7296_2_23_behind_a_nat_both_move_to_port_4500_with_the_marker_and_keep_it_open",
            "rfc7296_2_23_without_a_nat_ike_auth_from_another_address_is_not_taken",
            "openiked_befeaef_baf0c8e_nothing_moves_before_the_icv_is_good",
        ]),
    ),
    (
        "RFC 7296 §2.25",
        "TEMPORARY_FAILURE: again, after a while; CHILD_SA_NOT_FOUND: the old one goes silently",
        Tested(&[
            "rfc7296_2_25_temporary_failure_means_again_soon_and_not_for_ever_at_once",
            "rfc7296_2_25_child_sa_not_found_drops_the_old_child_silently_and_makes_one_new",
        ]),
    ),
    (
        "RFC 7296 §3.3.2, §3.3.5",
        "the key length of AES is mandatory and exact",
        Tested(&["rfc7296_3_3_2_the_key_length_of_aes_is_mandatory_and_exact"]),
    ),
    (
        "RFC 7296 §3.3.6",
        "a proposal with an unknown transform type is passed over",
        Tested(&["rfc7296_3_3_6_a_proposal_with_an_unknown_transform_type_is_passed_over_for_the_next"]),
    ),
    (
        "RFC 7296 §3.10",
        "an unknown error refuses the request, an unknown status is ignored",
        Tested(&["rfc7296_3_10_an_unknown_error_refuses_the_request_and_an_unknown_status_is_ignored"]),
    ),
    (
        "RFC 7296 §3.11",
        "a DELETE is answered with our own SPIs, crossing ones are left out",
        Tested(&["rfc7296_3_11_a_delete_is_answered_with_our_own_spis_and_crossing_ones_are_left_out"]),
    ),
    (
        "RFC 7296 §3.14",
        "padding of any content is accepted, as long as it lies inside",
        Tested(&["padding_of_any_content_and_length_is_accepted"]),
    ),
    (
        "RFC 7383",
        "each fragment is authenticated before it is kept; a larger total replaces, a smaller is ignored",
        Tested(&[
            "a_fragment_is_authenticated_before_it_is_kept",
            "rfc7383_2_6_a_larger_total_replaces_what_is_held_and_a_smaller_one_is_ignored",
            "rfc7383_2_6_a_doubled_fragment_is_ignored",
            "rfc7383_2_6_1_only_fragment_1_of_a_repeated_request_is_answered_again",
            "one_message_is_put_together_at_a_time_and_a_whole_one_takes_its_place",
            "a_message_that_goes_unanswered_is_cut_to_what_every_network_carries",
        ]),
    ),
    (
        "RFC 7383 §2.3",
        "fragments that were not negotiated are ignored",
        Tested(&[
            "rfc7383_2_3_fragments_of_an_answer_that_did_not_announce_them_are_ignored",
            "rfc7383_2_3_both_announce_it_and_one_that_does_not_gets_whole_messages",
        ]),
    ),
    (
        "RFC 9242 §3.3.2",
        "AUTH covers both messages of every IKE_INTERMEDIATE, as if neither encrypted nor fragmented",
        Tested(&[
            "rfc9242_3_3_2_auth_covers_both_messages_of_ike_intermediate_computed_by_hand",
            "rfc9242_3_3_2_an_auth_that_does_not_cover_ike_intermediate_is_refused",
            "before_the_additional_key_exchange_ike_auth_is_not_looked_at",
        ]),
    ),
    (
        "RFC 9370 §2.2",
        "NONE leaves a key exchange out; none without IKE_INTERMEDIATE; a late follow-up: STATE_NOT_FOUND",
        Tested(&[
            "rfc9370_2_2_1_none_leaves_an_additional_key_exchange_out",
            "an_initiator_without_ike_intermediate_gets_no_additional_key_exchange",
            "rfc9370_2_2_4_a_follow_up_that_comes_too_late_is_told_state_not_found_and_the_rekey_is_tried_again",
            "a_lost_message_anywhere_in_a_rekey_with_several_key_exchanges_is_made_up_for",
        ]),
    ),
    (
        "RFC 8784 §3",
        "the keys with a PPK; every row of table 1; NO_PPK_AUTH for an unknown name alone; never mixed in twice",
        Tested(&[
            "rfc8784_3_keys_with_a_ppk_match_an_independent_derivation_and_the_others_stay",
            "rfc8784_3_the_first_child_comes_of_the_mixed_sk_d_and_the_answer_proves_the_mixed_sk_pr",
            "rfc8784_3_an_initiator_that_said_use_ppk_must_name_one",
            "rfc8784_3_no_ppk_auth_serves_for_an_unknown_ppk_alone_and_must_verify",
            "each_way_to_disagree_is_refused_and_named",
            "an_initiator_refuses_a_responder_that_drops_the_ppk_and_tells_it",
            "rekeys_by_either_side_go_on_from_the_mixed_keys_and_keep_saying_so",
        ]),
    ),
    (
        "RFC 8784 §6",
        "an answer without USE_PPK may be forged: the attempt that needs it waits for another",
        Tested(&["rfc8784_6_a_forged_answer_without_use_ppk_does_not_end_the_attempt"]),
    ),
    (
        "FIPS 203",
        "ML-KEM agrees with published vectors; keys that are not reduced are refused",
        Tested(&[
            "ml_kem_agrees_with_wycheproof",
            "a_bad_encapsulation_key_or_method_in_ike_intermediate_is_refused_inside_sk",
        ]),
    ),
    (
        "RFC 6989",
        "checks on public values of every group",
        Tested(&["cve_2015_3240_degenerate_public_values_are_refused_in_every_group_and_leave_no_state"]),
    ),
    (
        "RFC 4303 §2.2, §3.4.3, Appendix A2",
        "sequence numbers, replay window before and after the ICV, extended numbers",
        Tested(&[
            "zero_is_never_new_and_one_is",
            "a_forged_high_sequence_number_does_not_move_the_window",
            "what_is_inside_is_checked_after_the_icv_and_counts_as_received",
            "extended_numbers_cross_2_to_the_32_and_arrive_late_across_it",
        ]),
    ),
    (
        "RFC 4303 §2.6, §2.7",
        "dummy packets are dropped silently, traffic flow padding is cut",
        Tested(&["every_reason_but_the_dummy_is_counted", "tfc_padding_is_tolerated"]),
    ),
    (
        "RFC 4301 §8",
        "the path MTU reaches the sender inside",
        Tested(&[
            "fragmentation_needed_names_the_mtu_and_quotes_the_packet",
            "packet_too_big_fills_the_minimum_mtu_and_never_names_less",
        ]),
    ),
    (
        "RFC 6040",
        "ECN in both directions",
        Tested(&[
            "the_decapsulation_table_is_rfc_6040_figure_4",
            "the_outer_header_copies_ecn_and_the_chosen_dscp",
        ]),
    ),
];
