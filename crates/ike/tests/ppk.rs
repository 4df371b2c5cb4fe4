//! A post-quantum pre-shared key beside the credentials (RFC 8784): who has it, who needs it, and what becomes of those
//! who do not agree. The derivation itself is held against an independent one in `crypto_keys.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/script.rs"]
mod script;
mod support;

use std::time::Duration;

use ExchangeType as E;
use ike::crypto::{SaKeys, SignedOctets, auth_psk, derive_child_keys, mix_ppk};
use ike::wire::{
    AuthMethod, Authentication, DhGroup, ExchangeType, Flags, Header, Notify, NotifyType, Payload, ProtocolId,
};
use ike::{Command, Config, Failure, Notice, Ppk, PpkProblem, Stage};
use model::{EspTransform, IkeSpi, KeyBits, Secret};
use pki::{Kind, Pki, by_certificates};
use script::{PSK, SUITE, Script, Target, half_open_with, notified, notify};
use support::{Pair, Side, config};

const KEY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// PPK_ID as it goes over the wire: type 2, then the name (RFC 8784 §5.1).
const ID: &[u8] = b"\x02office";

fn ppk(id: &str, key: &[u8], required: bool) -> Ppk {
    Ppk { id: id.as_bytes().to_vec(), key: Secret::from(key), required }
}

fn required() -> Option<Ppk> {
    Some(ppk("office", KEY, true))
}

fn optional() -> Option<Ppk> {
    Some(ppk("office", KEY, false))
}

/// Two configurations with these keys.
fn pair(a: Option<Ppk>, b: Option<Ppk>) -> Pair {
    let with = |side, ppk| Config { ppk, ..config(side) };
    Pair::new(with(Side::A, a), with(Side::B, b))
}

fn used(pair: &Pair) -> (bool, bool) {
    let of = |peer: &support::Peer| peer.endpoint.status().ike.unwrap().ppk;
    (of(&pair.a), of(&pair.b))
}

/// What both say when it comes to nothing: A's failure and B's.
fn refused(mut pair: Pair) -> (Failure, Option<Failure>) {
    pair.run(Duration::from_millis(400));
    assert!(pair.a.children.is_empty() && pair.b.children.is_empty(), "no child");
    assert_eq!(pair.b.endpoint.status().child_sas, 0);
    let first = |peer: &support::Peer| peer.failures().first().map(|failure| (*failure).clone());
    (first(&pair.a).expect("A says why"), first(&pair.b))
}

#[test]
fn both_have_it_whether_it_is_required_or_not() {
    for (a, b) in [
        (required(), required()),
        (optional(), required()),
        (required(), optional()),
        (optional(), optional()),
    ] {
        let mut pair = pair(a, b);
        pair.deliver_all();
        pair.assert_one_tunnel();
        assert_eq!(used(&pair), (true, true));
        let said = |n: &Notice| matches!(n, Notice::IkeEstablished { ppk: true, .. });
        assert_eq!((pair.a.count(said), pair.b.count(said)), (1, 1));
    }
}

#[test]
fn where_it_is_optional_a_peer_without_it_is_taken_as_ever() {
    for (a, b) in [
        // Nobody says USE_PPK, or one alone.
        (optional(), None),
        (None, optional()),
        // Both do, and the names differ: the responder takes NO_PPK_AUTH.
        (optional(), Some(ppk("other", KEY, false))),
    ] {
        let mut pair = pair(a, b);
        pair.deliver_all();
        pair.assert_one_tunnel();
        assert_eq!(used(&pair), (false, false));
    }
}

#[test]
fn an_initiator_that_needs_it_says_so_and_waits_for_a_better_answer() {
    let mut pair = pair(required(), None);
    pair.run(Duration::from_millis(400));
    let problem = Failure::Ppk(PpkProblem::NotSupported { id: "office".to_owned() });
    assert_eq!(pair.a.failures(), [&problem], "at once");
    let started = |n: &Notice| matches!(n, Notice::HandshakeStarted { .. });
    pair.run(Duration::from_secs(14));
    assert_eq!(pair.a.count(started), 1, "the first attempt goes on");
    assert_eq!(pair.requests(Side::A, 0).iter().filter(|e| **e != E::IKE_SA_INIT).count(), 0);
    // The peer gets its PPK: the next attempt succeeds.
    let requests = pair.history.len();
    pair.run(Duration::from_secs(3));
    assert!(pair.history.len() > requests, "and then there is another one");
    assert!(pair.a.children.is_empty());
}

#[test]
fn rfc8784_6_a_forged_answer_without_use_ppk_does_not_end_the_attempt() {
    let mut target = Target::new(Side::A, Config { ppk: required(), ..config(Side::A) });
    let mut forger = Script::responder(7);
    forger.hear_first(&target.last());
    let forged = forger.first(&forger.first_payloads());
    assert!(target.hear(&forged).is_empty(), "no IKE_AUTH to the forger");
    assert!(matches!(target.failures()[..], [Failure::Ppk(PpkProblem::NotSupported { .. })]));
    target.run(Duration::from_secs(10));
    let mut script = Script::responder(8);
    script.hear_first(&target.last());
    let mut payloads = script.first_payloads();
    payloads.push(notify(NotifyType::USE_PPK, &[]));
    let answer = script.first(&payloads);
    let request = target.hear(&answer).remove(0);
    with_ppk(&mut script);
    let mut payloads = script.auth_payloads();
    payloads.push(notify(NotifyType::PPK_IDENTITY, &[]));
    script.answer(&mut target, &request, &payloads);
    assert_eq!(target.holds(), (1, 1), "{:?}", target.notices);
}

/// AUTH is computed with the PPK from here on; messages are protected as before.
fn with_ppk(script: &mut Script) {
    let keys = mix_ppk(SUITE.prf, &Secret::from(KEY), script.keys.as_ref().unwrap());
    script.take_keys(keys);
}

#[test]
fn each_way_to_disagree_is_refused_and_named() {
    let id = || "office".to_owned();
    let (a, b) = refused(pair(None, required()));
    assert_eq!(a, Failure::AuthenticationFailed { by_peer: true });
    assert_eq!(b, Some(PpkProblem::NotOffered { id: id() }.into()));

    let unverified = |by_peer| Failure::from(PpkProblem::Unverified { id: id(), by_peer });
    let other_key = |required| Some(ppk("office", b"another key that is as long as the first", required));
    let (a, b) = refused(pair(required(), other_key(true)));
    assert_eq!((a, b), (unverified(true), Some(unverified(false))));
    // With NO_PPK_AUTH the responder knows that the PPK it is, and yet does not go on without it (table 1).
    for required in [false, true] {
        let (a, b) = refused(pair(optional(), other_key(required)));
        assert_eq!((a, b), (unverified(true), Some(PpkProblem::Differs { id: id() }.into())));
    }

    // Another name: nobody goes on whom either side forbids it.
    for (a, b) in [(true, true), (true, false), (false, true)] {
        let (a, b) = refused(pair(Some(ppk("office", KEY, a)), Some(ppk("b\nranch", KEY, b))));
        assert_eq!(a, unverified(true));
        assert_eq!(b, Some(PpkProblem::Unknown { got: id(), id: "b\\nranch".to_owned() }.into()));
    }
}

#[test]
fn every_refusal_says_what_to_do_and_is_authentication_failed() {
    let id = || "office".to_owned();
    for (problem, remedy) in [
        (PpkProblem::NotSupported { id: id() }, "ppk_required = false"),
        (PpkProblem::NotOffered { id: id() }, "ppk_required = false"),
        (PpkProblem::NotNamed { id: id() }, "give it the PPK"),
        (PpkProblem::Unknown { got: id(), id: id() }, "the same `ppk_id`"),
        (PpkProblem::NotUsed { id: id() }, "ppk_required = false"),
        (PpkProblem::Differs { id: id() }, "octet by octet"),
        (PpkProblem::Unverified { id: id(), by_peer: true }, "compare the PPK first"),
    ] {
        let failure = Failure::from(problem);
        let text = failure.to_string();
        assert!(text.contains("office") && text.contains(remedy), "{text}");
        assert!(text.starts_with("AUTHENTICATION_FAILED: "), "{text}");
        assert_eq!(failure.notify(), Some(NotifyType::AUTHENTICATION_FAILED));
    }
}

#[test]
fn a_wrong_pre_shared_key_is_not_blamed_on_a_ppk_that_proves_right() {
    // Without a PPK in use it stays the failure that it is.
    let mut a = Config { ppk: optional(), ..config(Side::A) };
    a.credentials = ike::Credentials::Psk(Secret::from(&b"not the key"[..]));
    let (a, b) = refused(Pair::new(a, config(Side::B)));
    assert_eq!(a, Failure::AuthenticationFailed { by_peer: true });
    assert_eq!(b, Some(Failure::AuthenticationFailed { by_peer: false }));
}

/// A waiting endpoint with a PPK to which we said USE_PPK.
fn asked(ppk: Option<Ppk>) -> (Target, Script) {
    let mut target = Target::new(Side::B, Config { ppk, ..config(Side::B) });
    let mut script = Script::initiator(5);
    let mut payloads = script.first_payloads();
    payloads.push(notify(NotifyType::USE_PPK, &[]));
    let request = script.first(&payloads);
    let answer = target.hear(&request).remove(0);
    let said = notified(&ike::wire::parse(&answer).unwrap().payloads);
    assert!(said.contains(&NotifyType::USE_PPK));
    script.hear_first(&answer);
    (target, script)
}

/// The AUTH data of our role with these keys, by hand.
fn auth_data(script: &Script, keys: &SaKeys) -> Vec<u8> {
    let body = script.identity().body();
    let signed = SignedOctets {
        message: &script.request,
        nonce: &script.nr,
        id_body: &body,
        sk_p: &keys.sk_pi,
        intermediate: &[],
    };
    auth_psk(SUITE.prf, &Secret::from(PSK), &signed)
}

/// IKE_AUTH with AUTH by the given keys, and `more`.
fn authenticate(
    target: &mut Target,
    script: &mut Script,
    keys: &SaKeys,
    more: impl IntoIterator<Item = Payload>,
) -> Vec<Payload> {
    let auth = Authentication { method: AuthMethod::SHARED_KEY, data: auth_data(script, keys) };
    let mut payloads = script.auth_payloads_with(script.identity(), vec![Payload::Auth(auth)]);
    payloads.extend(more);
    script.exchange(target, E::IKE_AUTH, &payloads)
}

#[test]
fn rfc8784_3_the_first_child_comes_of_the_mixed_sk_d_and_the_answer_proves_the_mixed_sk_pr() {
    let (mut target, mut script) = asked(required());
    let plain = script.keys.clone().unwrap();
    let mixed = mix_ppk(SUITE.prf, &Secret::from(KEY), &plain);
    let answer = authenticate(&mut target, &mut script, &mixed, [notify(NotifyType::PPK_IDENTITY, ID)]);
    assert_eq!(target.holds(), (1, 1));
    let told = answer.iter().find_map(|p| match p {
        Payload::Notify(n) if n.kind == NotifyType::PPK_IDENTITY => Some(n.data.clone()),
        _ => None,
    });
    assert_eq!(told, Some(Vec::new()), "PPK_IDENTITY without data");
    let transform = EspTransform::AesGcm16(KeyBits::B128);
    let keys = derive_child_keys(SUITE.prf, &mixed.sk_d, None, &script.ni, &script.nr, transform);
    let child = target.children.values().next().unwrap();
    assert_eq!(child.keys_in.encryption.expose(), keys.initiator.encryption.expose());
    assert_eq!(child.keys_out.encryption.expose(), keys.responder.encryption.expose());
    let (mut id, mut data) = (None, None);
    for payload in answer {
        match payload {
            Payload::IdR(got) => id = Some(got.body()),
            Payload::Auth(got) => data = Some(got.data),
            _ => {}
        }
    }
    let signed = SignedOctets {
        message: &script.response,
        nonce: &script.ni,
        id_body: &id.unwrap(),
        sk_p: &mixed.sk_pr,
        intermediate: &[],
    };
    assert_eq!(data.unwrap(), auth_psk(SUITE.prf, &Secret::from(PSK), &signed));
}

#[test]
fn rfc8784_3_an_initiator_that_said_use_ppk_must_name_one() {
    for ppk in [required(), optional()] {
        let (mut target, mut script) = asked(ppk);
        let plain = script.keys.clone().unwrap();
        let answer = authenticate(&mut target, &mut script, &plain, []);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(target.holds(), (0, 0));
        assert!(matches!(target.failures()[..], [Failure::Ppk(PpkProblem::NotNamed { .. })]));
    }
}

#[test]
fn rfc8784_3_no_ppk_auth_serves_for_an_unknown_ppk_alone_and_must_verify() {
    let unknown = || notify(NotifyType::PPK_IDENTITY, b"\x02elsewhere");
    let other = |script: &Script| {
        let keys = script.keys.as_ref().unwrap();
        mix_ppk(SUITE.prf, &Secret::from(&b"not this one"[..]), keys)
    };
    let without =
        |script: &Script| notify(NotifyType::NO_PPK_AUTH, &auth_data(script, script.keys.as_ref().unwrap()));
    // Optional on both sides.
    let (mut target, mut script) = asked(optional());
    let (keys, plain) = (other(&script), without(&script));
    let answer = authenticate(&mut target, &mut script, &keys, [unknown(), plain]);
    assert_eq!(target.holds(), (1, 1));
    assert!(!notified(&answer).contains(&NotifyType::PPK_IDENTITY), "the PPK is not used");
    assert!(!target.endpoint.status().ike.unwrap().ppk);

    let refuses = |ppk, payloads: &dyn Fn(&Script) -> Vec<Payload>| {
        let (mut target, mut script) = asked(ppk);
        let (keys, more) = (other(&script), payloads(&script));
        let answer = authenticate(&mut target, &mut script, &keys, more);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(target.holds(), (0, 0));
        target.failures()[0].clone()
    };
    let problem = refuses(required(), &|script| vec![unknown(), without(script)]);
    assert!(matches!(problem, Failure::Ppk(PpkProblem::Unknown { .. })), "{problem:?}");
    let problem = refuses(optional(), &|_| vec![unknown()]);
    assert!(matches!(problem, Failure::Ppk(PpkProblem::Unknown { .. })), "{problem:?}");
    // Data that verifies by nothing; and AUTH itself does not count in its place.
    for data in [&b""[..], &[0; 32]] {
        let problem = refuses(optional(), &|_| vec![unknown(), notify(NotifyType::NO_PPK_AUTH, data)]);
        assert_eq!(problem, Failure::AuthenticationFailed { by_peer: false });
    }
    // The known name with another key: never without it.
    let problem = refuses(optional(), &|script| vec![notify(NotifyType::PPK_IDENTITY, ID), without(script)]);
    assert!(matches!(problem, Failure::Ppk(PpkProblem::Differs { .. })), "{problem:?}");
}

#[test]
fn odd_ppk_identities_are_unknown_ones() {
    for identity in [&b""[..], b"\x02", b"\x01office", b"office", b"\x02office ", &[2; 7_000]] {
        let (mut target, mut script) = asked(required());
        let mixed = mix_ppk(SUITE.prf, &Secret::from(KEY), script.keys.as_ref().unwrap());
        let named = notify(NotifyType::PPK_IDENTITY, identity);
        let answer = authenticate(&mut target, &mut script, &mixed, [named]);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        let said = target.failures()[0].to_string();
        assert!(said.len() < 600 && !said.contains(char::is_control), "{said}");
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn an_initiator_refuses_a_responder_that_drops_the_ppk_and_tells_it() {
    for (ppk, taken) in [(required(), false), (optional(), true)] {
        let mut target = Target::new(Side::A, Config { ppk, ..config(Side::A) });
        let mut script = Script::responder(6);
        script.hear_first(&target.last());
        let mut payloads = script.first_payloads();
        payloads.push(notify(NotifyType::USE_PPK, &[]));
        let answer = script.first(&payloads);
        let request = target.hear(&answer).remove(0);
        let named = notified(&script.open(&request).payloads);
        assert!(named.contains(&NotifyType::PPK_IDENTITY));
        assert_eq!(named.contains(&NotifyType::NO_PPK_AUTH), taken, "only where it is optional");
        let payloads = script.auth_payloads();
        let told = script.answer(&mut target, &request, &payloads);
        if taken {
            assert_eq!(target.holds(), (1, 1));
            continue;
        }
        assert!(matches!(target.failures()[..], [Failure::Ppk(PpkProblem::NotUsed { .. })]));
        let told = script.open(&told[0]);
        assert_eq!(told.header.exchange, E::INFORMATIONAL);
        assert_eq!(notified(&told.payloads), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn what_is_added_to_or_taken_from_the_first_messages_is_noticed() {
    // Somebody in between takes USE_PPK out of either first message, or puts it in.
    let strip = |datagram: &[u8]| {
        let message = ike::wire::parse(datagram).unwrap();
        let is_ppk = |p: &Payload| matches!(p, Payload::Notify(n) if n.kind == NotifyType::USE_PPK);
        let payloads: Vec<_> = message.payloads.into_iter().filter(|p| !is_ppk(p)).collect();
        ike::wire::encode(&message.header, &payloads)
    };
    for of in [Side::A, Side::B] {
        let mut pair = pair(optional(), optional());
        for _ in 0..10 {
            while let Some(mut datagram) = pair.wire.pop_front() {
                if datagram.from == of && datagram.exchange() == E::IKE_SA_INIT {
                    datagram.transmit.payload = strip(&datagram.transmit.payload);
                }
                pair.deliver(&datagram);
            }
            pair.next_timeout();
        }
        assert!(pair.a.children.is_empty() && pair.b.children.is_empty(), "{of:?}");
    }
}

#[test]
fn ppk_notifies_that_nobody_authenticated_change_nothing() {
    let (mut target, script) = half_open_with(3, Config { ppk: required(), ..config(Side::B) });
    for exchange in [E::IKE_AUTH, E::INFORMATIONAL, E::IKE_INTERMEDIATE, E::IKE_SA_INIT] {
        for kind in [NotifyType::USE_PPK, NotifyType::PPK_IDENTITY, NotifyType::NO_PPK_AUTH] {
            for response in [false, true] {
                let header = Header::new(script.spi_i, script.spi_r, exchange, Flags::new(true, response), 1);
                let datagram = ike::wire::encode(&header, &[notify(kind, ID)]);
                target.ignores(&datagram, "a notification in the clear");
            }
        }
    }
    // Answers from strangers to an initiator.
    let mut target = Target::new(Side::A, Config { ppk: required(), ..config(Side::A) });
    let spi_i = ike::wire::parse_header(&target.last()).unwrap().spi_i;
    for kind in [NotifyType::USE_PPK, NotifyType::PPK_IDENTITY, NotifyType::NO_PPK_AUTH] {
        let header = Header::new(spi_i, IkeSpi(9), E::IKE_AUTH, Flags::new(false, true), 0);
        target.ignores(&ike::wire::encode(&header, &[notify(kind, ID)]), "a stranger's notification");
    }
}

#[test]
fn an_established_ike_sa_does_not_care_for_ppk_notifies() {
    let (mut target, mut script) = script::served(4);
    let odd = Notify { protocol: ProtocolId::IKE, spi: Vec::new(), kind: NotifyType::USE_PPK, data: vec![1] };
    let answer = script.exchange(
        &mut target,
        E::INFORMATIONAL,
        &[Payload::Notify(odd), notify(NotifyType::PPK_IDENTITY, ID), notify(NotifyType::NO_PPK_AUTH, ID)],
    );
    assert!(answer.is_empty());
    assert!(!target.endpoint.status().ike.unwrap().ppk);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn rekeys_by_either_side_go_on_from_the_mixed_keys_and_keep_saying_so() {
    let mut pair = Pair::established_with(|_, config| config.ppk = required());
    for side in [Side::A, Side::B] {
        for command in [Command::RekeyIke, Command::RekeyChild, Command::RekeyIke] {
            pair.command(side, command);
            pair.settle();
        }
    }
    pair.assert_never_down();
    assert_eq!(used(&pair), (true, true));
    // A reconnect begins with the PPK again.
    pair.command(Side::A, Command::Reset);
    pair.run(Duration::from_secs(5));
    pair.assert_one_tunnel();
    assert_eq!(used(&pair), (true, true));
}

#[test]
fn with_ml_kem_the_ppk_is_mixed_in_after_the_last_key_exchange() {
    let pair = Pair::established_with(|side, config| {
        config.ike_proposals[0].additional = vec![DhGroup::ML_KEM_768, DhGroup::ECP_256];
        config.ppk = if side == Side::A { optional() } else { required() };
    });
    assert_eq!(used(&pair), (true, true));
    let mut sent = pair.requests(Side::A, 0);
    sent.dedup();
    assert_eq!(sent, [E::IKE_SA_INIT, E::IKE_INTERMEDIATE, E::IKE_AUTH]);
}

#[test]
fn with_ml_kem_and_a_ppk_a_handshake_survives_the_loss_of_any_datagram_in_fragments_too() {
    for size in [1280, 400] {
        for lost in 0..14 {
            let change = |side| {
                let mut config = Config { fragment_size: Some(size), ppk: required(), ..config(side) };
                config.ike_proposals[0].additional = vec![DhGroup::ML_KEM_768];
                config
            };
            let mut pair = Pair::new(change(Side::A), change(Side::B));
            let mut sent = 0;
            pair.run_with(Duration::from_secs(14), |_| {
                sent += 1;
                sent != lost + 1
            });
            pair.assert_one_tunnel();
            assert_eq!(used(&pair), (true, true));
        }
    }
}

#[test]
fn beside_certificates_the_signature_covers_the_ppk_and_a_wrong_one_is_named() {
    for (kind, required) in [(Kind::P256, true), (Kind::P384, false)] {
        let pki = Pki::new();
        let leaf = |name| pki.certificates(&pki.leaf(name, kind, |_| {}));
        let (ours, theirs) = (leaf("a.example"), leaf("b.example"));
        let with = |a: Option<Ppk>, b: Option<Ppk>| {
            let (mut first, mut second) = (config(Side::A), config(Side::B));
            by_certificates(&mut first, &ours, theirs.credential.subject());
            by_certificates(&mut second, &theirs, ours.credential.subject());
            (first.ppk, second.ppk) = (a, b);
            Pair::new(first, second)
        };
        let same = || Some(ppk("office", KEY, required));
        let mut pair = with(same(), same());
        pair.deliver_all();
        pair.assert_one_tunnel();
        assert_eq!(used(&pair), (true, true));
        // NO_PPK_AUTH carries a whole signature, its algorithm in front (RFC 7427 §3).
        let mut pair = with(optional(), Some(ppk("other", KEY, false)));
        pair.deliver_all();
        pair.assert_one_tunnel();
        assert_eq!(used(&pair), (false, false));
        let (a, b) = refused(with(same(), Some(ppk("office", b"another", required))));
        assert!(matches!(a, Failure::Ppk(PpkProblem::Unverified { by_peer: true, .. })), "{a:?}");
        assert!(
            matches!(b, Some(Failure::Ppk(PpkProblem::Unverified { .. } | PpkProblem::Differs { .. }))),
            "{b:?}"
        );
    }
}

#[test]
fn two_that_begin_at_once_with_a_cookie_and_another_group_still_agree_on_it() {
    let mut a = Config { ppk: required(), ..config(Side::A) };
    let mut b = Config { ppk: required(), ..config(Side::B) };
    b.startup = ike::Startup::Initiate;
    for config in [&mut a, &mut b] {
        config.limits.cookie_threshold = 0;
    }
    b.ike_proposals[0].groups = vec![DhGroup::ECP_256];
    a.ike_proposals[0].groups = vec![DhGroup::CURVE25519, DhGroup::ECP_256];
    let mut pair = Pair::new(a, b);
    pair.run(Duration::from_secs(60));
    pair.assert_one_tunnel();
    assert_eq!(used(&pair), (true, true));
    assert_eq!(pair.a.count(|n| matches!(n, Notice::PeerUnreachable { stage: Stage::Auth })), 0);
}

#[test]
fn neither_the_key_nor_its_octets_stand_in_any_debug_text() {
    let config = Config { ppk: required(), ..config(Side::A) };
    let text = format!("{config:?}");
    assert!(!text.contains("0123456789") && !text.contains("48, 49, 50, 51"), "{text}");
}
