//! Prints nanoseconds per packet: `cargo run --release -p esp --example throughput`. Best of several rounds over
//! hot buffers, one thread; a shared machine makes single rounds worthless.
#![allow(clippy::print_stdout, reason = "the figures are the point")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads a clock; the library never does")]
#![allow(clippy::panic, reason = "a benchmark that measures the wrong thing must stop")]

use std::hint::black_box;
use std::time::Instant;

use esp::merge::{MergeOptions, Merger};
use esp::segment::{Gso, Segments, VnetHeader};
use esp::{AeadProvider, InboundSa, KeyError, NEXT_HEADER_IPV4, OutboundSa};
use model::{EspIntegrity, EspKeys, EspSuite, EspTransform, KeyBits, Secret, Spi};

const ROUNDS: usize = 15;
const PACKETS: usize = 4096;
const SLOT: usize = 1536;

fn main() -> Result<(), KeyError> {
    let gcm = |bits| EspTransform::AesGcm16(bits);
    let cbc = |integrity| EspTransform::AesCbc(KeyBits::B128, integrity);
    println!("{:<32} {:>5} {:>10} {:>10} {:>10}", "suite", "octets", "seal", "seal copy", "open");
    for &provider in AeadProvider::ALL {
        println!("-- AES-GCM by {}", provider.name());
        for transform in [gcm(KeyBits::B128), gcm(KeyBits::B256)] {
            for len in [52, 64, 570, 1386, 1400, 1438, 1440] {
                row(provider, transform, len)?;
            }
        }
    }
    for transform in [
        cbc(EspIntegrity::HmacSha1_96),
        cbc(EspIntegrity::HmacSha2_256_128),
        cbc(EspIntegrity::HmacSha2_512_256),
    ] {
        for len in [64, 1400, 1438, 1440] {
            row(AeadProvider::Ring, transform, len)?;
        }
    }
    offloads();
    Ok(())
}

fn sas(provider: AeadProvider, transform: EspTransform) -> Result<(OutboundSa, InboundSa), KeyError> {
    let suite = EspSuite { transform, esn: false };
    let keys = EspKeys {
        encryption: Secret::new(vec![7; transform.encryption_key_len()]),
        integrity: Secret::new(vec![9; transform.integrity_key_len()]),
    };
    let Some(spi) = Spi::new(4096) else { panic!("4096 is a valid SPI") };
    Ok((
        OutboundSa::with_provider(provider, spi, suite, &keys)?,
        InboundSa::with_provider(provider, spi, suite, &keys, 1024)?,
    ))
}

fn ipv4(len: usize) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((len as u16).to_be_bytes());
    packet.resize(len, 0x5a);
    packet
}

/// The least time that `work` took for one of `per_round` items, in nanoseconds.
fn best(per_round: usize, mut work: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64 / per_round as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn row(provider: AeadProvider, transform: EspTransform, len: usize) -> Result<(), KeyError> {
    let inner = ipv4(len);
    let (sender, _) = sas(provider, transform)?;
    let reserve = |count| sender.reserve(count).unwrap_or_else(|error| panic!("{error}"));
    let offset = sender.payload_offset();
    let mut slot = vec![0; SLOT];
    let in_place = best(PACKETS, || {
        let first = reserve(PACKETS as u32);
        for seq in first..first + PACKETS as u64 {
            black_box(sender.seal_in_place(seq, black_box(&mut slot), len, NEXT_HEADER_IPV4));
        }
    });
    let copied = best(PACKETS, || {
        let first = reserve(PACKETS as u32);
        for seq in first..first + PACKETS as u64 {
            black_box(sender.seal_into(seq, black_box(&inner), NEXT_HEADER_IPV4, black_box(&mut slot)));
        }
    });
    // A packet can be opened once: seal a batch that stays in the second-level cache, open it, start again.
    const BATCH: usize = 256;
    let mut slots = vec![0; BATCH * SLOT];
    let open = (0..ROUNDS * 8)
        .map(|_| {
            let (sender, mut receiver) = sas(provider, transform).unwrap_or_else(|error| panic!("{error}"));
            for (seq, slot) in slots.chunks_mut(SLOT).enumerate() {
                black_box(sender.seal_into(seq as u64 + 1, &inner, NEXT_HEADER_IPV4, slot));
            }
            let total = sender.sealed_len(len);
            let start = Instant::now();
            for slot in slots.chunks_mut(SLOT) {
                match receiver.open_in_place(&mut slot[..total]) {
                    Ok(opened) => black_box(opened.inner.len()),
                    Err(reason) => panic!("{reason}"),
                };
            }
            start.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .fold(f64::INFINITY, f64::min);
    assert_eq!(offset, sender.payload_offset());
    println!("{:<32} {len:>5} {in_place:>7.0} ns {copied:>7.0} ns {open:>7.0} ns", transform.to_string());
    Ok(())
}

/// Splitting and merging a super-packet of 44 segments, and splitting with sealing: per segment.
fn offloads() {
    const COUNT: usize = 44;
    const MSS: usize = 1386;
    let mut super_packet = ipv4(52 + COUNT * MSS);
    super_packet[6..10].copy_from_slice(&[0x40, 0, 64, 6]);
    super_packet[32..34].copy_from_slice(&[0x80, 0x10]);
    let vnet =
        VnetHeader { needs_checksum: true, gso: Gso::Tcp4, gso_size: MSS as u16, ..VnetHeader::default() };
    let mut slots = vec![0; COUNT * SLOT];
    let mut split = |seal: Option<&OutboundSa>| {
        best(COUNT * 16, || {
            for _ in 0..16 {
                let Ok(mut segments) = Segments::new(&vnet, &super_packet) else {
                    panic!("not a super-packet")
                };
                let first = seal.map_or(0, |sa| sa.reserve(COUNT as u32).unwrap_or(0));
                for (seq, slot) in (first..).zip(slots.chunks_mut(SLOT)) {
                    let Some(len) = segments.write_next(&mut slot[16..]) else { panic!("too few segments") };
                    if let Some(sa) = seal {
                        black_box(sa.seal_in_place(seq, slot, len, NEXT_HEADER_IPV4));
                    }
                }
            }
        })
    };
    println!("\nper segment of {} octets, {COUNT} in a super-packet:", 52 + MSS);
    if let Ok((sa, _)) = sas(AeadProvider::preferred(), EspTransform::AesGcm16(KeyBits::B256)) {
        println!("{:<32} {:>7.0} ns", "split and seal AES_GCM_16_256", split(Some(&sa)));
    }
    println!("{:<32} {:>7.0} ns", "split", split(None));
    for verify in [true, false] {
        let mut merger = Merger::new(MergeOptions { verify, ..MergeOptions::default() });
        let mut writes = 0;
        let ns = best(COUNT * 16, || {
            for _ in 0..16 {
                for (handle, slot) in slots.chunks(SLOT).enumerate() {
                    black_box(merger.push(handle as u32, &slot[16..16 + 52 + MSS]));
                }
                writes = merger.finish().inspect(|write| assert!(write.parts > 1)).count();
                merger.clear();
            }
        });
        assert_eq!(writes, 1, "everything merges into one");
        println!(
            "{:<32} {ns:>7.0} ns",
            if verify { "merge, checksums verified" } else { "merge, not verified" }
        );
    }
}
