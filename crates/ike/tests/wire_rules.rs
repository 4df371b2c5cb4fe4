//! What the parser must take, must refuse, and must leave alone, rule by rule (RFC 7296 §3).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod vectors;

use ike::wire::{
    self, Attribute, AttributeType, AttributeValue, AuthMethod, Authentication, DhGroup, EncrId, Encrypted,
    Error, ExchangeType, Flags, HEADER_LEN, Header, IdType, Identification, IntegId, KeyExchange, Message,
    Notify, NotifyType, Payload, PayloadType, PrfId, Proposal, ProtocolId, SecurityAssociation, Transform,
    TransformType, parse, parse_header, parse_payloads, split_encrypted,
};
use model::{IkeSpi, TrafficSelector};
use vectors::unhex;

fn header() -> Header {
    Header::new(IkeSpi(0x0102), IkeSpi(0), ExchangeType::IKE_SA_INIT, Flags::new(true, false), 0)
}

fn transforms() -> Vec<Transform> {
    vec![
        Transform::encryption(EncrId::AES_CBC, Some(256)),
        Transform::prf(PrfId::PRF_HMAC_SHA2_256),
        Transform::integrity(IntegId::HMAC_SHA2_256_128),
        Transform::group(DhGroup::MODP_2048),
    ]
}

fn offer() -> SecurityAssociation {
    let proposal =
        |number| Proposal { number, protocol: ProtocolId::IKE, spi: vec![], transforms: transforms() };
    SecurityAssociation { proposals: vec![proposal(1), proposal(2)] }
}

fn sa_init() -> Vec<Payload> {
    vec![
        Payload::Sa(offer()),
        Payload::Ke(KeyExchange { group: DhGroup::MODP_2048, data: vec![5; 256] }),
        Payload::Nonce(vec![7; 32]),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, vec![1; 20])),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, vec![2; 20])),
        Payload::Vendor(b"x".to_vec()),
    ]
}

/// A chain with one payload of the given body.
fn one(kind: PayloadType, body: &[u8]) -> Result<Vec<Payload>, Error> {
    let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
    parse_payloads(kind, &[&[0, 0, length[0], length[1]], body].concat())
}

#[test]
fn a_known_message_has_exactly_these_octets() {
    let nonce = Payload::Nonce((0..16).collect());
    let cookie = Payload::Notify(Notify::new(NotifyType::COOKIE, vec![0xaa, 0xbb]));
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: vec![],
        transforms: vec![
            Transform::encryption(EncrId::AES_GCM_16, Some(128)),
            Transform::prf(PrfId::PRF_HMAC_SHA2_512),
        ],
    };
    let sa = Payload::Sa(SecurityAssociation { proposals: vec![proposal] });
    let expected = unhex(
        "0000000000000102 0000000000000000 29 20 22 08 00000000 0000005a
         21 00 000a  00 00 4006 aabb
         28 00 0020  00 00 001c 01 01 00 02
                     03 00 000c 01 00 0014 800e 0080
                     00 00 0008 02 00 0007
         00 00 0014  000102030405060708090a0b0c0d0e0f",
    );
    assert_eq!(wire::encode(&header(), &[cookie, sa, nonce]), expected);
}

#[test]
fn a_message_without_payloads_is_only_its_header() {
    let datagram = wire::encode(&header(), &[]);
    assert_eq!(datagram.len(), HEADER_LEN);
    assert_eq!(parse(&datagram), Ok(Message { header: header(), payloads: vec![] }));
}

#[test]
fn datagrams_shorter_than_a_header_are_refused() {
    for length in 0..HEADER_LEN {
        let short = vec![0xff; length];
        assert_eq!(parse_header(&short), Err(Error::ShortHeader { length }));
        assert_eq!(parse(&short), Err(Error::ShortHeader { length }));
        assert!(split_encrypted(&short).is_err());
    }
}

#[test]
fn the_length_field_must_be_the_datagrams_length() {
    let datagram = wire::encode(&header(), &sa_init());
    let right = u32::try_from(datagram.len()).unwrap();
    for declared in [0, 1, 27, 28, right - 1, right + 1, 0xffff, 0x10000 + right, u32::MAX] {
        let mut wrong = datagram.clone();
        wrong[24..28].copy_from_slice(&declared.to_be_bytes());
        assert_eq!(parse(&wrong), Err(Error::LengthMismatch { declared, received: datagram.len() }));
    }
}

#[test]
fn a_message_cut_at_any_octet_is_refused() {
    let datagram = wire::encode(&header(), &sa_init());
    for length in 0..datagram.len() {
        let mut cut = datagram[..length].to_vec();
        assert!(parse(&cut).is_err(), "{length} octets");
        if length >= HEADER_LEN {
            cut[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            assert!(parse(&cut).is_err(), "{length} octets with the length put right");
        }
    }
}

#[test]
fn octets_after_the_last_payload_are_refused() {
    let mut datagram = wire::encode(&header(), &sa_init());
    datagram.push(0);
    let length = u32::try_from(datagram.len()).unwrap();
    datagram[24..28].copy_from_slice(&length.to_be_bytes());
    assert_eq!(parse(&datagram), Err(Error::Trailing(PayloadType::NONE)));
}

#[test]
fn other_major_versions_have_a_header_and_nothing_more() {
    for major in (0..16).filter(|major| *major != 2) {
        let datagram = wire::encode(&Header { version: major << 4, ..header() }, &sa_init());
        assert_eq!(parse_header(&datagram).map(|header| header.major_version()), Ok(major));
        assert_eq!(parse(&datagram), Err(Error::MajorVersion(major)));
        assert_eq!(split_encrypted(&datagram), Err(Error::MajorVersion(major)));
    }
}

#[test]
fn a_higher_minor_version_is_ignored() {
    let datagram = wire::encode(&Header { version: 0x2f, ..header() }, &sa_init());
    assert_eq!(parse(&datagram).map(|message| message.payloads), Ok(sa_init()));
}

#[test]
fn reserved_bits_are_ignored_on_receipt() {
    // Bits that RFC 7296 reserves, by octet of the message below: flags, the generic headers, the heads of
    // proposal, transform, KE.
    let payloads = vec![
        Payload::Sa(SecurityAssociation { proposals: vec![offer().proposals.remove(0)] }),
        Payload::Ke(KeyExchange { group: DhGroup::MODP_2048, data: vec![5; 4] }),
    ];
    let mut datagram = wire::encode(&header(), &payloads);
    let ke_at = datagram.len() - 12;
    for (octet, bits) in [(19, 0xc7), (29, 0x7f), (33, 0xff), (41, 0xff), (45, 0xff), (ke_at + 1, 0x7f)] {
        datagram[octet] |= bits;
    }
    datagram[ke_at + 6] = 0xff;
    datagram[ke_at + 7] = 0xff;
    let message = parse(&datagram).unwrap();
    assert_eq!(message.payloads, payloads);
    assert_eq!(message.header.flags, Flags::new(true, false));
    assert_eq!(wire::encode(&message.header, &message.payloads)[19], 0x08, "and sent as zero");
}

#[test]
fn the_critical_bit_counts_for_unknown_types_only() {
    for kind in (1..=255).map(PayloadType) {
        for critical in [false, true] {
            let octet = if critical { 0x80 } else { 0 };
            let parsed = parse_payloads(kind, &[0, octet, 0, 5, 9]);
            if kind.is_known() {
                let plain = parse_payloads(kind, &[0, 0, 0, 5, 9]);
                assert_eq!(parsed, plain, "{kind}");
            } else {
                assert_eq!(parsed, Ok(vec![Payload::Unknown { kind, critical, data: vec![9] }]), "{kind}");
            }
        }
    }
    for kind in [1, 32, 49, 52, 54, 255] {
        assert!(!PayloadType(kind).is_known(), "{kind}");
    }
}

#[test]
fn a_payload_length_that_does_not_fit_is_refused() {
    for declared in [0_u8, 1, 2, 3] {
        let chain = [0, 0, 0, declared];
        assert_eq!(
            parse_payloads(PayloadType::VENDOR, &chain),
            Err(Error::BadLength(PayloadType::VENDOR)),
            "{declared}"
        );
    }
    assert_eq!(
        parse_payloads(PayloadType::VENDOR, &[0, 0, 0, 6, 1]),
        Err(Error::BadLength(PayloadType::VENDOR))
    );
    assert_eq!(parse_payloads(PayloadType::VENDOR, &[0, 0, 0]), Err(Error::Truncated(PayloadType::VENDOR)));
    assert_eq!(parse_payloads(PayloadType::VENDOR, &[]), Err(Error::Truncated(PayloadType::VENDOR)));
    assert_eq!(parse_payloads(PayloadType::NONE, &[0]), Err(Error::Trailing(PayloadType::NONE)));
    assert_eq!(parse_payloads(PayloadType::NONE, &[]), Ok(vec![]));
}

#[test]
fn a_chain_has_a_limit() {
    let chain = |count: usize| {
        let mut bytes = [PayloadType::VENDOR.0, 0, 0, 4].repeat(count);
        let last = bytes.len() - 4;
        bytes[last] = 0;
        parse_payloads(PayloadType::VENDOR, &bytes)
    };
    assert_eq!(chain(wire::MAX_PAYLOADS).map(|payloads| payloads.len()), Ok(wire::MAX_PAYLOADS));
    assert_eq!(chain(wire::MAX_PAYLOADS + 1), Err(Error::TooMany(PayloadType::NONE)));
}

/// The SA of [`offer`] as a payload body, with some octets changed.
fn changed_offer(changes: &[(usize, u8)]) -> Result<Vec<Payload>, Error> {
    let mut body = wire::encode_payloads(&[Payload::Sa(offer())]).bytes[4..].to_vec();
    for (at, value) in changes {
        body[*at] = *value;
    }
    one(PayloadType::SA, &body)
}

#[test]
fn proposals_and_transforms_must_agree_with_their_counts_and_markers() {
    let sa = PayloadType::SA;
    assert_eq!(changed_offer(&[]), Ok(vec![Payload::Sa(offer())]));
    // One proposal is 8 + 12 + 3 * 8 = 44 octets: 0 marker, 2 length, 7 transform count, 8 first transform.
    assert_eq!(changed_offer(&[(0, 0)]), Err(Error::BadCount(sa)), "last, but another follows");
    assert_eq!(changed_offer(&[(44, 2)]), Err(Error::BadCount(sa)), "more, but none follows");
    assert_eq!(changed_offer(&[(0, 1)]), Err(Error::BadValue(sa)), "neither last nor more");
    assert_eq!(changed_offer(&[(0, 3)]), Err(Error::BadValue(sa)), "a transform's marker on a proposal");
    assert_eq!(changed_offer(&[(8, 2)]), Err(Error::BadValue(sa)), "a proposal's marker on a transform");
    assert_eq!(changed_offer(&[(8, 0)]), Err(Error::BadCount(sa)), "last transform, but another follows");
    assert_eq!(changed_offer(&[(7, 3)]), Err(Error::BadCount(sa)), "fewer transforms than there are");
    assert_eq!(changed_offer(&[(7, 5)]), Err(Error::BadCount(sa)), "more transforms than there are");
    assert_eq!(changed_offer(&[(7, 0)]), Err(Error::BadCount(sa)), "no transforms");
    assert_eq!(changed_offer(&[(7, 255)]), Err(Error::TooMany(sa)));
    assert_eq!(changed_offer(&[(3, 45)]), Err(Error::BadCount(sa)), "length one too long");
    assert_eq!(changed_offer(&[(3, 255)]), Err(Error::BadLength(sa)), "longer than the payload");
    assert_eq!(changed_offer(&[(3, 3)]), Err(Error::BadLength(sa)), "shorter than its own head");
    assert_eq!(changed_offer(&[(3, 4)]), Err(Error::Truncated(sa)), "only its own head");
    assert_eq!(
        changed_offer(&[(11, 13)]),
        Err(Error::Truncated(sa)),
        "transform one too long: half an attribute"
    );
    assert_eq!(changed_offer(&[(6, 255)]), Err(Error::BadLength(sa)), "an SPI longer than the proposal");
    assert_eq!(one(sa, &[]), Err(Error::Truncated(sa)), "no proposal");
    assert_eq!(one(sa, &[0, 0, 0, 8, 1, 1, 0, 0]), Err(Error::BadCount(sa)), "a proposal of nothing");
}

#[test]
fn an_offer_without_one_of_its_kinds_parses_and_is_for_the_negotiation_to_refuse() {
    for left_out in 0..4 {
        let mut sa = offer();
        sa.proposals[0].transforms.remove(left_out);
        let encoded = wire::encode_payloads(&[Payload::Sa(sa.clone())]);
        assert_eq!(parse_payloads(encoded.first, &encoded.bytes), Ok(vec![Payload::Sa(sa)]));
    }
}

#[test]
fn unknown_transforms_and_attributes_are_preserved() {
    let strange = Transform {
        kind: TransformType(9),
        id: 0xffff,
        attributes: vec![
            Attribute { kind: AttributeType::KEY_LENGTH, value: AttributeValue::Short(256) },
            Attribute { kind: AttributeType(0x7fff), value: AttributeValue::Long(vec![1, 2, 3]) },
        ],
    };
    assert_eq!(strange.key_bits(), None, "a key length beside something unknown is not to be trusted");
    let mut sa = offer();
    sa.proposals[0].transforms.push(strange);
    let encoded = wire::encode_payloads(&[Payload::Sa(sa.clone())]);
    assert_eq!(parse_payloads(encoded.first, &encoded.bytes), Ok(vec![Payload::Sa(sa)]));
    assert_eq!(DhGroup(1025).to_string(), "DhGroup(1025)");
}

#[test]
fn lists_have_limits() {
    let with = |proposals: usize, transforms: usize, attributes: usize| {
        let attribute = Attribute { kind: AttributeType(1), value: AttributeValue::Short(1) };
        let transform =
            Transform { kind: TransformType::ENCR, id: 1, attributes: vec![attribute; attributes] };
        let proposal = Proposal {
            number: 1,
            protocol: ProtocolId::IKE,
            spi: vec![],
            transforms: vec![transform; transforms],
        };
        let sa = SecurityAssociation { proposals: vec![proposal; proposals] };
        let encoded = wire::encode_payloads(&[Payload::Sa(sa)]);
        parse_payloads(encoded.first, &encoded.bytes).map(|_| ())
    };
    let too_many = Err(Error::TooMany(PayloadType::SA));
    assert_eq!(with(wire::MAX_PROPOSALS, 1, 0), Ok(()));
    assert_eq!(with(wire::MAX_PROPOSALS + 1, 1, 0), too_many);
    assert_eq!(with(1, wire::MAX_TRANSFORMS, 0), Ok(()));
    assert_eq!(with(1, wire::MAX_TRANSFORMS + 1, 0), too_many);
    assert_eq!(with(1, 1, wire::MAX_ATTRIBUTES), Ok(()));
    assert_eq!(with(1, 1, wire::MAX_ATTRIBUTES + 1), too_many);
}

#[test]
fn nonces_have_16_to_256_octets() {
    for (length, good) in [(0, false), (15, false), (16, true), (256, true), (257, false)] {
        let parsed = one(PayloadType::NONCE, &vec![1; length]);
        assert_eq!(parsed.is_ok(), good, "{length} octets");
    }
}

#[test]
fn identities_of_addresses_have_the_length_of_addresses() {
    let id = |kind: IdType, length: usize| {
        one(PayloadType::IDR, &[vec![kind.0, 0, 0, 0], vec![1; length]].concat()).is_ok()
    };
    assert!(id(IdType::ID_IPV4_ADDR, 4) && !id(IdType::ID_IPV4_ADDR, 3) && !id(IdType::ID_IPV4_ADDR, 16));
    assert!(id(IdType::ID_IPV6_ADDR, 16) && !id(IdType::ID_IPV6_ADDR, 4) && !id(IdType::ID_IPV6_ADDR, 17));
    assert!(id(IdType::ID_FQDN, 0) && id(IdType::ID_KEY_ID, 300) && id(IdType(200), 3));
    assert!(one(PayloadType::IDI, &[1, 0, 0]).is_err());
}

#[test]
fn identities_compare_by_type_and_data_and_are_signed_as_received() {
    let Ok(parsed) = one(PayloadType::IDI, b"\x02\xde\xad\xbepeer.example") else { panic!("an FQDN") };
    let [Payload::IdI(id)] = &parsed[..] else { panic!("one identity") };
    assert_eq!(*id, Identification::new(IdType::ID_FQDN, b"peer.example".to_vec()));
    assert_eq!(id.body(), b"\x02\xde\xad\xbepeer.example", "RFC 7296 §2.15 signs the reserved octets too");
    assert_ne!(*id, Identification::new(IdType::ID_KEY_ID, b"peer.example".to_vec()));
    assert_ne!(*id, Identification::new(IdType::ID_FQDN, b"peer.exampl".to_vec()));
}

#[test]
fn identities_print_without_control_characters() {
    let id = Identification::new(IdType::ID_KEY_ID, b"a\n\x1b[31m\xff".to_vec());
    assert_eq!(format!("{id:?}"), r"ID_KEY_ID(a\n\x1b[31m\xff)");
}

#[test]
fn delete_must_count_right_and_size_spis_by_protocol() {
    let delete = PayloadType::DELETE;
    let body = |text: &str| one(delete, &unhex(text)).map(|_| ());
    assert_eq!(body("01 00 0000"), Ok(()), "the IKE SA itself");
    assert_eq!(body("01 00 0001"), Err(Error::BadCount(delete)), "one SPI of no octets");
    assert_eq!(body("01 00 0100"), Err(Error::BadCount(delete)), "many SPIs of no octets");
    assert_eq!(body("01 00 ffff"), Err(Error::TooMany(delete)));
    assert_eq!(body("01 08 0001 0102030405060708"), Err(Error::BadValue(delete)));
    assert_eq!(body("03 04 0000"), Ok(()));
    assert_eq!(body("03 04 0002 01020304 05060708"), Ok(()));
    assert_eq!(body("03 04 0001 01020304 05060708"), Err(Error::BadCount(delete)));
    assert_eq!(body("03 04 0003 01020304 05060708"), Err(Error::BadCount(delete)));
    assert_eq!(body("03 08 0001 01020304 05060708"), Err(Error::BadValue(delete)));
    assert_eq!(body("03 00 0000"), Err(Error::BadValue(delete)));
    assert_eq!(body("ff 02 0002 0102 0304"), Ok(()), "an unknown protocol's own affair");
    assert_eq!(body("03 04"), Err(Error::Truncated(delete)));
}

#[test]
fn a_notify_spi_must_lie_inside_and_any_protocol_is_taken() {
    let notify = PayloadType::NOTIFY;
    for protocol in 0..=255 {
        // CVE-2023-38710: REKEY_SA with an odd protocol or SPI size is somebody's mistake, never a crash.
        assert!(one(notify, &[protocol, 4, 0x40, 0x09, 1, 2, 3, 4]).is_ok());
        assert!(one(notify, &[protocol, 0, 0x40, 0x09]).is_ok());
    }
    assert_eq!(one(notify, &[3, 5, 0x40, 0x09, 1, 2, 3, 4]), Err(Error::BadLength(notify)));
    assert_eq!(one(notify, &[3, 0, 0x40]), Err(Error::Truncated(notify)));
    assert!(NotifyType::NO_PROPOSAL_CHOSEN.is_error() && NotifyType(16383).is_error());
    assert!(!NotifyType::INITIAL_CONTACT.is_error() && !NotifyType(65535).is_error());
}

#[test]
fn traffic_selectors_are_checked_one_by_one() {
    let ts = PayloadType::TSI;
    let body = |text: &str| one(ts, &unhex(text));
    let any = "07 00 0010 0000 ffff 00000000 ffffffff";
    assert_eq!(body(&format!("01 000000 {any}")), Ok(vec![Payload::TsI(vec![TrafficSelector::any_v4()])]));
    let v6 = "08 00 0028 0000 ffff 00000000000000000000000000000000 ffffffffffffffffffffffffffffffff";
    assert_eq!(
        body(&format!("02 abcdef {any} {v6}")),
        Ok(vec![Payload::TsI(vec![TrafficSelector::any_v4(), TrafficSelector::any_v6()])])
    );
    assert_eq!(body("00 000000"), Err(Error::BadCount(ts)), "no selector");
    assert_eq!(body(&format!("02 000000 {any}")), Err(Error::BadCount(ts)), "fewer than announced");
    assert_eq!(body(&format!("01 000000 {any} {any}")), Err(Error::BadCount(ts)), "more than announced");
    let bad = |selector: &str| body(&format!("01 000000 {selector}")).unwrap_err();
    assert_eq!(bad("07 00 000f 0000 ffff 00000000 ffffff"), Error::BadLength(ts));
    assert_eq!(bad("07 00 0011 0000 ffff 00000000 ffffffff 00"), Error::BadLength(ts));
    assert_eq!(bad("07 00 0028 0000 ffff 00000000 ffffffff"), Error::BadLength(ts));
    assert_eq!(bad("08 00 0010 0000 ffff 00000000 ffffffff"), Error::BadLength(ts));
    assert_eq!(bad("07 00 0003"), Error::BadLength(ts));
    assert_eq!(bad("07 00 0010 0000 ffff 00000001 00000000"), Error::BadValue(ts), "addresses backwards");
    assert_eq!(bad("07 06 0010 0050 0010 00000000 00000000"), Error::BadValue(ts), "ports backwards");
    assert!(body("01 000000 07 06 0010 ffff 0000 00000000 00000000").is_ok(), "OPAQUE");
}

#[test]
fn selectors_of_unknown_type_are_left_out() {
    let any = "07 00 0010 0000 ffff 00000000 ffffffff";
    let label = "0a 00 0006 abcd";
    assert_eq!(
        one(PayloadType::TSR, &unhex(&format!("02 000000 {label} {any}"))),
        Ok(vec![Payload::TsR(vec![TrafficSelector::any_v4()])])
    );
    assert_eq!(
        one(PayloadType::TSR, &unhex(&format!("01 000000 {label}"))),
        Ok(vec![Payload::TsR(vec![])]),
        "nothing is left to agree on: TS_UNACCEPTABLE, not INVALID_SYNTAX"
    );
    assert!(one(PayloadType::TSR, &unhex("01 000000 0a 00 0003")).is_err());
}

#[test]
fn an_encrypted_payload_is_last_and_does_not_nest() {
    let sealed = Payload::Encrypted(Encrypted { first: PayloadType::NOTIFY, data: vec![0; 32] });
    let message = wire::encode(&header(), &[Payload::Vendor(vec![]), sealed.clone()]);
    let parsed = parse(&message).unwrap();
    assert_eq!(parsed.payloads, vec![Payload::Vendor(vec![]), sealed.clone()]);
    let split = split_encrypted(&message).unwrap().unwrap();
    assert_eq!((split.first, split.fragment), (PayloadType::NOTIFY, None));
    assert_eq!((split.outer.len(), split.associated.len(), split.body.len()), (1, 36, 32));

    let not_last = wire::encode(&header(), &[sealed.clone(), Payload::Vendor(vec![])]);
    assert_eq!(parse(&not_last), Err(Error::MisplacedEncrypted));
    assert_eq!(split_encrypted(&not_last), Err(Error::MisplacedEncrypted));
    let inside = wire::encode_payloads(&[sealed]);
    assert_eq!(parse_payloads(inside.first, &inside.bytes), Err(Error::MisplacedEncrypted));
    assert_eq!(split_encrypted(&wire::encode(&header(), &sa_init())), Ok(None));
}

#[test]
fn fragment_numbers_run_from_one_to_the_total() {
    for (number, total, good) in [
        (1_u16, 1_u16, true),
        (2, 3, true),
        (65535, 65535, true),
        (0, 1, false),
        (0, 0, false),
        (3, 2, false),
    ] {
        let fragment = wire::EncryptedFragment { first: PayloadType::NONE, number, total, data: vec![0; 30] };
        let datagram = wire::encode(&header(), &[Payload::EncryptedFragment(fragment)]);
        assert_eq!(parse(&datagram).is_ok(), good, "{number}/{total}");
        match split_encrypted(&datagram) {
            Ok(Some(sealed)) => {
                assert!(good);
                assert_eq!(sealed.fragment, Some((number, total)));
                assert_eq!((sealed.associated.len(), sealed.body.len()), (36, 30));
            }
            other => assert!(!good, "{other:?}"),
        }
    }
}

#[test]
fn a_public_value_of_any_length_parses_and_is_for_key_exchange_to_refuse() {
    for length in [0, 1, 255, 2048, 65_527 - 4] {
        let ke = Payload::Ke(KeyExchange { group: DhGroup(1025), data: vec![1; length] });
        let encoded = wire::encode_payloads(std::slice::from_ref(&ke));
        assert_eq!(parse_payloads(encoded.first, &encoded.bytes), Ok(vec![ke]), "{length}");
    }
    assert_eq!(one(PayloadType::KE, &[0, 14, 0]), Err(Error::Truncated(PayloadType::KE)));
}

#[test]
fn auth_keeps_its_method_and_data() {
    let auth = Payload::Auth(Authentication { method: AuthMethod::SHARED_KEY, data: vec![3; 32] });
    let encoded = wire::encode_payloads(std::slice::from_ref(&auth));
    assert_eq!(encoded.bytes[..8], [0, 0, 0, 40, 2, 0, 0, 0]);
    assert_eq!(parse_payloads(encoded.first, &encoded.bytes), Ok(vec![auth]));
    assert_eq!(one(PayloadType::AUTH, &[2, 0, 0]), Err(Error::Truncated(PayloadType::AUTH)));
}

#[test]
fn a_payload_too_long_for_its_length_field_is_refused_by_every_parser_ours_too() {
    let datagram = wire::encode(&header(), &[Payload::Vendor(vec![0; 70_000])]);
    assert!(parse(&datagram).is_err());
}
