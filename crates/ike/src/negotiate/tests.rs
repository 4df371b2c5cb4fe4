use model::{EspIntegrity, EspTransform, KeyBits};

use super::*;

fn gcm(bits: &[KeyBits], groups: &[DhGroup]) -> IkeProposal {
    IkeProposal {
        encryption: bits.iter().map(|bits| IkeCipher::AesGcm16(*bits)).collect(),
        prf: vec![Prf::HmacSha2_384, Prf::HmacSha2_256],
        integrity: Vec::new(),
        groups: groups.to_vec(),
        additional: Vec::new(),
    }
}

fn cbc() -> IkeProposal {
    IkeProposal {
        encryption: vec![IkeCipher::AesCbc(KeyBits::B128)],
        prf: vec![Prf::HmacSha2_256],
        integrity: vec![Integrity::HmacSha2_256_128],
        groups: vec![DhGroup::MODP_2048, DhGroup::ECP_256],
        additional: Vec::new(),
    }
}

#[test]
fn our_order_decides_among_what_both_allow() {
    let theirs = ike_offer(&[cbc(), gcm(&[KeyBits::B128, KeyBits::B256], &[DhGroup::ECP_256])], None);
    let ours = [gcm(&[KeyBits::B256], &[DhGroup::ECP_384, DhGroup::ECP_256]), cbc()];
    let choice = choose_ike(Selection::OurOrder, &ours, &theirs, None).unwrap();
    assert_eq!(choice.suite.to_string(), "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_256");
    assert_eq!(choice.accepted.number, 2);
}

#[test]
fn the_lowest_value_wins_whatever_the_orders() {
    let ours = [gcm(&[KeyBits::B256, KeyBits::B128], &[DhGroup::ECP_384, DhGroup::MODP_2048]), cbc()];
    let theirs = ike_offer(&ours, None);
    let choice = choose_ike(Selection::LowestValue, &ours, &theirs, Some(DhGroup::ECP_384)).unwrap();
    assert_eq!(choice.suite.to_string(), "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048");
}

#[test]
fn the_group_of_the_key_exchange_at_hand_is_taken_if_allowed() {
    let ours = [gcm(&[KeyBits::B256], &[DhGroup::ECP_384, DhGroup::CURVE25519])];
    let theirs = ike_offer(&ours, None);
    let choice = choose_ike(Selection::OurOrder, &ours, &theirs, Some(DhGroup::CURVE25519)).unwrap();
    assert_eq!(choice.suite.group, DhGroup::CURVE25519);
}

#[test]
fn an_answer_that_was_not_offered_is_refused() {
    let ours = [gcm(&[KeyBits::B256], &[DhGroup::ECP_384])];
    let good = choose_ike(Selection::OurOrder, &ours, &ike_offer(&ours, None), None).unwrap().accepted;
    let answer = |proposal: Proposal| SecurityAssociation { proposals: vec![proposal] };
    assert!(confirm_ike(&ours, &answer(good.clone())).is_some());
    let mut wrong_number = good.clone();
    wrong_number.number = 2;
    assert!(confirm_ike(&ours, &answer(wrong_number)).is_none());
    let mut two_of_a_kind = good.clone();
    two_of_a_kind.transforms.push(Transform::prf(PrfId::PRF_HMAC_SHA2_256));
    assert!(confirm_ike(&ours, &answer(two_of_a_kind)).is_none());
    let mut shorter_key = good.clone();
    shorter_key.transforms[0] = IkeCipher::AesGcm16(KeyBits::B128).transform();
    assert!(confirm_ike(&ours, &answer(shorter_key)).is_none());
    for missing in 0..good.transforms.len() {
        let mut partial = good.clone();
        partial.transforms.remove(missing);
        assert!(confirm_ike(&ours, &answer(partial)).is_none());
    }
    let two = SecurityAssociation { proposals: vec![good.clone(), good] };
    assert!(confirm_ike(&ours, &two).is_none());
}

#[test]
fn the_first_child_ignores_groups_and_later_ones_insist() {
    let proposal = EspProposal {
        encryption: vec![EspCipher::AesCbc(KeyBits::B128)],
        integrity: vec![EspIntegrity::HmacSha2_256_128],
        groups: vec![DhGroup::ECP_256],
        additional: Vec::new(),
        esn: vec![true, false],
    };
    let ours = [proposal.clone()];
    let spi = Spi::new(0x1234).unwrap();
    let without = esp_offer(&ours, spi, false);
    let with = esp_offer(&ours, spi, true);
    let first = choose_esp(Selection::OurOrder, &ours, &with, false, None).unwrap();
    assert_eq!((first.group, first.suite.esn, first.spi), (None, true, spi));
    assert_eq!(first.suite.transform, EspTransform::AesCbc(KeyBits::B128, EspIntegrity::HmacSha2_256_128));
    assert!(choose_esp(Selection::OurOrder, &ours, &without, true, None).is_none());
    let later = choose_esp(Selection::OurOrder, &ours, &with, true, None).unwrap();
    assert_eq!(later.group, Some(DhGroup::ECP_256));
    assert_eq!(later.text(), "AES_CBC_128/HMAC_SHA2_256_128/ECP_256/ESN");
}

#[test]
fn narrowing_keeps_the_common_part_and_notices_when_there_is_none() {
    let net = |text: &str| TrafficSelector::from_net(text.parse().unwrap());
    let any = TrafficSelector::any_v4();
    assert_eq!(narrow(&[any], &[net("10.0.0.0/8")]), vec![net("10.0.0.0/8")]);
    assert_eq!(narrow(&[net("10.1.0.0/16"), any], &[any]), vec![net("10.1.0.0/16"), any]);
    assert!(narrow(&[net("10.0.0.0/8")], &[net("192.168.0.0/16")]).is_empty());
    assert!(within(&[net("10.1.0.0/16")], &[net("10.0.0.0/8")]));
    assert!(!within(&[any], &[net("10.0.0.0/8")]));
    assert!(!within(&[], &[any]));
}
