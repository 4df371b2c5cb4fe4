//! A peer from the time before IKEv2: it answers each message with the error RFC 7296 §2.5 asks for.

use std::net::UdpSocket;

use anyhow::{Context, Result};
use ike::wire::{self, Flags, Header, NotifyType, Payload, PayloadType, ProtocolId};

/// The highest version it speaks, as it stands in a header.
const VERSION_1: u8 = 0x10;

/// Serves UDP 500 for ever.
///
/// # Errors
/// When the port is taken.
pub fn run() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:500").context("cannot listen on UDP 500")?;
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let Ok(header) = wire::parse_header(buffer.get(..length).unwrap_or_default()) else { continue };
        socket.send_to(&refusal(&header), from)?;
    }
}

/// RFC 7296 §2.5: the notify goes out in a message with the highest version that is supported.
fn refusal(request: &Header) -> Vec<u8> {
    let header = Header {
        version: VERSION_1,
        flags: Flags::new(false, true),
        next_payload: PayloadType::NONE,
        ..*request
    };
    let notify = wire::Notify {
        protocol: ProtocolId::NONE,
        spi: Vec::new(),
        kind: NotifyType::INVALID_MAJOR_VERSION,
        data: Vec::new(),
    };
    wire::encode(&header, &[Payload::Notify(notify)])
}
