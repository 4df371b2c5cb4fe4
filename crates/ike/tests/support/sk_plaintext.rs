//! What an authenticated peer, or one that guessed the key, can put inside the encrypted payload.
//!
//! The first octet is the type of the first payload, the rest the chain. It is parsed directly, and once more through a
//! fragment sealed and opened with known keys: both ways must say the same.
#![allow(unreachable_pub, clippy::expect_used, clippy::panic)]

use ike::crypto::{
    FragmentHead, IkeCipher, KeyInputs, OpenError, Prf, Protection, Sender, Suite, Verified, derive_sa_keys,
};
use ike::wire::{self, DhGroup, ExchangeType, Flags, Header, PayloadType};
use model::{IkeSpi, KeyBits, Secret, SecureRng};

struct Zeros;

impl SecureRng for Zeros {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(0);
    }
}

fn protection() -> Protection {
    let suite = Suite {
        cipher: IkeCipher::AesGcm16(KeyBits::B128),
        prf: Prf::HmacSha2_256,
        integrity: None,
        group: DhGroup::CURVE25519,
    };
    let shared = Secret::from(&[1; 32][..]);
    let inputs =
        KeyInputs { ni: &[2; 32], nr: &[3; 32], shared: &shared, spi_i: IkeSpi(1), spi_r: IkeSpi(2) };
    Protection::new(&suite, &derive_sa_keys(&suite, &inputs), Sender::Initiator).expect("a valid suite")
}

/// Both ways, compared.
pub fn run(input: &[u8]) {
    let Some((first, plaintext)) = input.split_first() else { return };
    let first = PayloadType(*first);
    let direct = wire::parse_payloads(first, plaintext);
    if plaintext.len() > 60_000 {
        return;
    }
    let header = Header::new(IkeSpi(1), IkeSpi(2), ExchangeType::INFORMATIONAL, Flags::new(true, false), 5);
    let head = FragmentHead { first, number: 1, total: 1 };
    let datagram = protection().seal_fragment(&header, head, plaintext, &mut Zeros);
    let fragment = protection().open_fragment(&datagram).expect("sealed with the same keys");
    match (direct, Verified::from_fragments(vec![fragment])) {
        (Ok(payloads), Ok(verified)) => assert_eq!(payloads, verified.payloads),
        (Err(direct), Err(OpenError::Inner { error, .. })) => assert_eq!(direct, error),
        (direct, opened) => panic!("{direct:?} and {opened:?}"),
    }
}
