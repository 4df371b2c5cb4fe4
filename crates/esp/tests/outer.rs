//! Outer headers are what a host's own stack would write.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use esp::checksum::{self, Sum};
use esp::outer::{ESP, Header, parse, write_udp};
use esp::packet::Inner;

fn header(source: &str, destination: &str) -> Header {
    Header {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: ESP,
        traffic_class: 0xba,
        hop_limit: 64,
        dont_fragment: true,
        identification: 0x1234,
    }
}

#[test]
fn an_ipv4_header_is_written_and_read_back() {
    let mut packet = [0xee; 60];
    let header = header("192.0.2.1", "198.51.100.2");
    assert_eq!(header.write(40, &mut packet), Some(20));
    assert_eq!(packet[..10], [0x45, 0xba, 0, 60, 0x12, 0x34, 0x40, 0, 64, 50]);
    assert_eq!(Sum::of(&packet[..20]).checksum(), [0, 0]);
    let parsed = parse(&packet).unwrap();
    assert_eq!((parsed.source, parsed.destination), (header.source, header.destination));
    assert_eq!((parsed.protocol, parsed.traffic_class, parsed.payload.len()), (ESP, 0xba, 40));
}

#[test]
fn an_ipv6_header_is_written_and_read_back() {
    let mut packet = [0xee; 90];
    let header = header("2001:db8::1", "2001:db8::2");
    assert_eq!(header.write(40, &mut packet), Some(40));
    assert_eq!(packet[..8], [0x6b, 0xa0, 0, 0, 0, 40, 50, 64]);
    let parsed = parse(&packet).unwrap();
    assert_eq!((parsed.traffic_class, parsed.payload), (0xba, &[0xee; 40][..]), "link padding is cut");
}

#[test]
fn broken_outer_headers_are_refused() {
    let mut packet = [0; 60];
    header("192.0.2.1", "198.51.100.2").write(40, &mut packet).unwrap();
    let mut corrupt = packet;
    corrupt[8] ^= 1;
    assert_eq!(parse(&corrupt), None, "header checksum");
    let mut fragment = packet;
    fragment[6] = 0x20;
    checksum::set_ipv4_header(&mut fragment[..20]);
    assert_eq!(parse(&fragment), None, "fragment");
    assert_eq!(parse(&packet[..59]), None, "cut short");
}

#[test]
fn what_does_not_fit_a_header_is_not_written() {
    let four = header("192.0.2.1", "198.51.100.2");
    assert_eq!(four.write(40, &mut [0; 19]), None);
    assert_eq!(four.write(65_516, &mut [0; 20]), None);
    assert_eq!(header("2001:db8::1", "2001:db8::2").write(65_536, &mut [0; 40]), None);
    assert_eq!(header("192.0.2.1", "2001:db8::2").write(0, &mut [0; 40]), None);
}

#[test]
fn a_udp_header_has_a_checksum_when_asked() {
    for (source, destination) in [("192.0.2.1", "198.51.100.2"), ("2001:db8::1", "2001:db8::2")] {
        let mut ip = header(source, destination);
        ip.protocol = 17;
        let mut packet = vec![0x77; ip.len() + 29];
        let at = ip.write(29, &mut packet).unwrap();
        write_udp(&mut packet[at..], (4500, 4501), Some((ip.source, ip.destination))).unwrap();
        assert_eq!(packet[at..at + 6], [0x11, 0x94, 0x11, 0x95, 0, 29]);
        let inner = Inner::parse(&packet).unwrap();
        assert_eq!(checksum::verify_transport(&inner, &packet), Some(true));
        write_udp(&mut packet[at..], (4500, 4500), None).unwrap();
        assert_eq!(packet[at + 6..at + 8], [0, 0]);
    }
    assert_eq!(write_udp(&mut [0; 7], (1, 2), None), None);
    assert_eq!(write_udp(&mut vec![0; 65_536], (1, 2), None), None);
}
