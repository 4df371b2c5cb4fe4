//! Our ESP against scapy's, both ways, over every suite, both encapsulations and every pair of address families.
//!
//! Needs python3 with scapy and cryptography (`CGWD_ORACLE_PYTHON` names the interpreter). Without them the tests
//! say that they were skipped, or fail when `CGWD_REQUIRE_ORACLE=1`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "a skipped test must say so")]

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use esp::fragment::{Fragments, Rules};
use esp::outer::{ESP, Header, parse, write_udp};
use esp::segment::{Gso, Segments, VnetHeader};
use esp::{InboundSa, NatTraversal, OutboundSa, UDP_HEADER_LEN, classify, ecn, icmp, mss, next_header_of};
use model::{EspIntegrity, EspSuite, EspTransform, Secret};
use serde_json::{Value, json};

mod common;
use common::{all_suites, finish_checksums, ip_packet, keys, spi, tcp_packet, udp_packet};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oracle/esp_oracle.py");

struct Oracle {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// `None`, and a line that says why, when it cannot run and need not.
    fn start() -> Option<Self> {
        let python = std::env::var("CGWD_ORACLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        match Self::try_start(&python) {
            Ok(oracle) => Some(oracle),
            Err(reason) if std::env::var("CGWD_REQUIRE_ORACLE").is_ok_and(|value| value == "1") => {
                panic!(
                    "CGWD_REQUIRE_ORACLE=1, but the ESP oracle does not run with `{python}`: {reason}. \
                     Install scapy and cryptography for it, or name another interpreter in CGWD_ORACLE_PYTHON."
                )
            }
            Err(reason) => {
                eprintln!("SKIPPED: the ESP oracle does not run with `{python}`: {reason}");
                None
            }
        }
    }

    fn try_start(python: &str) -> Result<Self, String> {
        let mut child = Command::new(python)
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let requests = child.stdin.take().unwrap();
        let mut oracle = Self { requests, answers: BufReader::new(child.stdout.take().unwrap()), child };
        let greeting = oracle.read()?;
        if greeting["ready"] == json!(true) { Ok(oracle) } else { Err(greeting["reason"].to_string()) }
    }

    fn read(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("{error} in {line:?}"))
    }

    /// The octets that `field` of the answer holds.
    fn ask(&mut self, request: &Value, field: &str) -> Vec<u8> {
        writeln!(self.requests, "{request}").unwrap();
        let answer = self.read().unwrap();
        match answer[field].as_str() {
            Some(text) => from_hex(text),
            None => panic!("the oracle answered {answer} to {request}"),
        }
    }

    fn rebuild(&mut self, packet: &[u8]) -> Vec<u8> {
        self.ask(&json!({"op": "rebuild", "packet": to_hex(packet)}), "packet")
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn to_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// One way to carry a packet.
#[derive(Clone, Copy, Debug)]
struct Carriage {
    suite: EspSuite,
    udp: bool,
    outer_ipv6: bool,
}

impl Carriage {
    fn all() -> impl Iterator<Item = Self> {
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        all_suites()
            .into_iter()
            .flat_map(move |suite| ways.map(|(udp, outer_ipv6)| Self { suite, udp, outer_ipv6 }))
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        let (a, b) =
            if self.outer_ipv6 { ("2001:db8::1", "2001:db8::2") } else { ("192.0.2.1", "198.51.100.2") };
        (a.parse().unwrap(), b.parse().unwrap())
    }

    /// The SA as the oracle wants it, in the names that it knows.
    fn describe(&self, sequence: u64) -> Value {
        let keys = keys(self.suite.transform, 3);
        let (encryption, integrity) = match self.suite.transform {
            EspTransform::AesGcm16(_) => ("AES-GCM", "NULL"),
            EspTransform::AesCbc(_, EspIntegrity::HmacSha1_96) => ("AES-CBC", "HMAC-SHA1-96"),
            EspTransform::AesCbc(_, EspIntegrity::HmacSha2_256_128) => ("AES-CBC", "SHA2-256-128"),
            EspTransform::AesCbc(_, EspIntegrity::HmacSha2_384_192) => ("AES-CBC", "SHA2-384-192"),
            EspTransform::AesCbc(_, EspIntegrity::HmacSha2_512_256) => ("AES-CBC", "SHA2-512-256"),
        };
        let hex = |secret: &Secret| to_hex(secret.expose());
        let (source, destination) = self.addresses();
        json!({
            "spi": spi().get(), "sequence": sequence, "esn": self.suite.esn, "udp": self.udp,
            "encryption": encryption, "encryption_key": hex(&keys.encryption),
            "integrity": integrity, "integrity_key": hex(&keys.integrity),
            "source": source.to_string(), "destination": destination.to_string(),
        })
    }

    fn outbound(&self) -> OutboundSa {
        OutboundSa::new(spi(), self.suite, &keys(self.suite.transform, 3)).unwrap()
    }

    fn inbound(&self) -> InboundSa {
        InboundSa::new(spi(), self.suite, &keys(self.suite.transform, 3), 1024).unwrap()
    }

    /// Sealed by us, with outer headers by us.
    fn seal(&self, sequence: u64, inner: &[u8]) -> Vec<u8> {
        let sa = self.outbound();
        let (source, destination) = self.addresses();
        let header = Header {
            source,
            destination,
            protocol: if self.udp { 17 } else { ESP },
            traffic_class: ecn::encapsulate(ecn::traffic_class(inner).unwrap()),
            hop_limit: 64,
            dont_fragment: true,
            identification: 0,
        };
        let udp_len = if self.udp { UDP_HEADER_LEN } else { 0 };
        let payload_len = udp_len + sa.sealed_len(inner.len());
        let mut packet = vec![0; header.len() + payload_len];
        let at = header.write(payload_len, &mut packet).unwrap();
        let len = sa.seal_into(sequence, inner, next_header_of(inner).unwrap(), &mut packet[at + udp_len..]);
        assert_eq!(at + udp_len + len, packet.len());
        if self.udp {
            write_udp(&mut packet[at..], (4500, 4500), Some((source, destination))).unwrap();
        }
        packet
    }

    /// The ESP packet inside an outer packet of the oracle's.
    fn esp_of<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        let outer = parse(packet).unwrap();
        assert_eq!((outer.source, outer.destination), self.addresses());
        assert_eq!(outer.protocol, if self.udp { 17 } else { ESP });
        if !self.udp {
            return outer.payload;
        }
        match classify(&outer.payload[UDP_HEADER_LEN..]) {
            NatTraversal::Esp(packet) => packet,
            other => panic!("{other:?}"),
        }
    }
}

/// Inner packets of both families and of lengths that need every amount of padding.
fn inner_packets(salt: usize) -> Vec<Vec<u8>> {
    [false, true]
        .into_iter()
        .flat_map(|ipv6| {
            let length = 1 + salt % 17;
            [
                udp_packet(ipv6, 1, &vec![0x61; length]),
                tcp_packet(ipv6, 2, 77, 0x18, &vec![0x62; 1300 + length]),
            ]
        })
        .map(|mut packet| {
            finish_checksums(&mut packet);
            packet
        })
        .collect()
}

fn sequences(suite: EspSuite) -> Vec<u64> {
    if suite.esn {
        // Jumps that a receiver can follow, and the turn of the lower half.
        vec![1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 7]
    } else {
        vec![1, 900, u64::from(u32::MAX)]
    }
}

#[test]
fn scapy_opens_what_we_seal() {
    let Some(mut oracle) = Oracle::start() else { return };
    for (salt, carriage) in Carriage::all().enumerate() {
        for (inner, sequence) in inner_packets(salt).iter().zip(sequences(carriage.suite).iter().cycle()) {
            let packet = carriage.seal(*sequence, inner);
            let request =
                json!({"op": "open", "sa": carriage.describe(*sequence), "packet": to_hex(&packet)});
            assert_eq!(oracle.ask(&request, "inner"), *inner, "{carriage:?} {sequence}");
            assert_eq!(oracle.rebuild(&packet), packet, "outer lengths and checksums, {carriage:?}");
        }
    }
}

#[test]
fn we_open_what_scapy_seals() {
    let Some(mut oracle) = Oracle::start() else { return };
    for (salt, carriage) in Carriage::all().enumerate() {
        let mut sa = carriage.inbound();
        let inner_packets = inner_packets(salt);
        for (sequence, inner) in sequences(carriage.suite).iter().zip(inner_packets.iter().cycle()) {
            let request = json!({"op": "seal", "sa": carriage.describe(*sequence), "inner": to_hex(inner)});
            let packet = oracle.ask(&request, "packet");
            let mut packet = carriage.esp_of(&packet).to_vec();
            let opened =
                sa.open_in_place(&mut packet).unwrap_or_else(|reason| panic!("{carriage:?}: {reason}"));
            assert_eq!(opened.inner, inner, "{carriage:?}");
            assert_eq!(opened.sequence, *sequence);
        }
    }
}

#[test]
fn scapy_computes_the_checksums_that_we_write() {
    let Some(mut oracle) = Oracle::start() else { return };
    let mut packets = Vec::new();
    for ipv6 in [false, true] {
        // A clamped SYN, its option at an odd place.
        let mut tcp = tcp_packet(ipv6, 1, 5, 0x02, b"");
        let options = tcp.len() - 12;
        tcp[options..].copy_from_slice(&[1, 2, 4, 0x05, 0xb4, 3, 3, 7, 1, 1, 1, 0]);
        finish_checksums(&mut tcp);
        assert!(mss::clamp_tcp_mss(&mut tcp, 1438));
        packets.push(tcp);
        // Segments of super-packets.
        for (gso, packet) in [
            (if ipv6 { Gso::Tcp6 } else { Gso::Tcp4 }, tcp_packet(ipv6, 9, 7, 0x99, &[0x5a; 4000])),
            (Gso::Udp, udp_packet(ipv6, 9, &[0x5b; 4000])),
        ] {
            let vnet = VnetHeader { gso, gso_size: 1371, ..VnetHeader::default() };
            let mut segments = Segments::new(&vnet, &packet).unwrap();
            let mut out = [0; 2000];
            while let Some(len) = segments.write_next(&mut out) {
                packets.push(out[..len].to_vec());
            }
        }
        // The answer to a packet that is too large.
        let mut out = [0; icmp::MAX_LEN];
        let source = if ipv6 { "fd00::9" } else { "10.9.9.9" };
        let len = icmp::too_big(&udp_packet(ipv6, 1, &[1; 1450]), 1438, source.parse().unwrap(), &mut out);
        packets.push(out[..len.unwrap()].to_vec());
    }
    // Fragments (only their IP header has a checksum that covers them alone).
    let large = ip_packet(false, 1, 47, &[3; 3000]);
    let mut fragments = Fragments::new(&large, &Rules { mtu: 1438, clear_df: false, fresh_id: 0 }).unwrap();
    let mut out = [0; 1500];
    while let Some(len) = fragments.write_next(&mut out) {
        packets.push(out[..len].to_vec());
    }
    for packet in packets {
        assert_eq!(to_hex(&oracle.rebuild(&packet)), to_hex(&packet));
    }
}
