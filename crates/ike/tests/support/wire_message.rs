//! A datagram as it comes from anybody: header, payload chain, and the split in front of decryption.
#![allow(unreachable_pub, clippy::expect_used)]

use ike::wire::{self, Payload};

/// Reads one; what can be read is the same when it is written and read again.
pub fn run(datagram: &[u8]) {
    let header = wire::parse_header(datagram);
    let sealed = wire::split_encrypted(datagram);
    let Ok(message) = wire::parse(datagram) else { return };
    assert_eq!(header, Ok(message.header), "a message has a header");
    // Printing must be total: a rejected packet is logged.
    let _ = format!("{message:?}");
    let closed = message
        .payloads
        .iter()
        .any(|payload| matches!(payload, Payload::Encrypted(_) | Payload::EncryptedFragment(_)));
    assert_eq!(sealed.expect("a parsed message splits").is_some(), closed);
    let no_selectors =
        |payload: &Payload| matches!(payload, Payload::TsI(ts) | Payload::TsR(ts) if ts.is_empty());
    if !message.payloads.iter().any(no_selectors) {
        let again = wire::parse(&wire::encode(&message.header, &message.payloads));
        assert_eq!(again.map(|again| again.payloads), Ok(message.payloads), "encoding says the same");
    }
}
