//! The first two exchanges, from both sides.

mod support;

use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{Notice, Phase, Role};
use support::{Pair, Side};

#[test]
fn four_messages_make_one_ike_sa_and_one_child() {
    let mut pair = Pair::plain();
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert_eq!(pair.history.len(), 4);
    let exchanges: Vec<_> = pair.history.iter().map(|datagram| datagram.exchange()).collect();
    use ExchangeType as E;
    assert_eq!(exchanges, [E::IKE_SA_INIT, E::IKE_SA_INIT, E::IKE_AUTH, E::IKE_AUTH]);
    let status = pair.a.endpoint.status();
    assert_eq!(status.phase, Phase::Established);
    let ike = status.ike.unwrap();
    assert_eq!(ike.role, Role::Initiator);
    assert_eq!(ike.proposal, "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE25519");
    assert_eq!(status.child.unwrap().proposal, "AES_GCM_16_128");
    for side in [Side::A, Side::B] {
        assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::IkeEstablished { .. })), 1);
        assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::ChildEstablished { .. })), 1);
        assert!(pair.peer(side).failures().is_empty());
    }
}

#[test]
fn the_responder_installs_before_it_answers() {
    let mut pair = Pair::plain();
    pair.deliver_all();
    let install = pair.b.trace.iter().position(|effect| effect == "install 1").unwrap();
    assert_eq!(pair.b.trace[install + 1], "send");
}

#[test]
fn nothing_happens_for_an_hour_afterwards() {
    let mut pair = Pair::established();
    pair.run(Duration::from_secs(3_600));
    pair.assert_one_tunnel();
    assert_eq!(pair.history.len(), 4);
}
