//! A peer that sends by new keys before we have them loses nothing by it.

use super::{Bench, GCM, OFFLOADS, Setup, install, packet, read};
use crate::inbound::Command;

#[test]
fn packets_that_overtake_the_answer_with_their_keys_are_delivered_once_the_sa_is_here() {
    for raw in [false, true] {
        let script: Vec<Vec<u8>> =
            (0..3).map(|id| read(false, false, 0, &packet(false, None, id, b"early"))).collect();
        let setup = Setup { raw, gso: false, merge: false, ..OFFLOADS };
        let mut bench = Bench::new(setup, script.clone());
        assert!(bench.commands.push(Command::Retire(1)));
        bench.inward.take_commands(&bench.shared);
        bench.link.keep();
        bench.vpc.keep();
        bench.send(3);
        let mut sent = bench.link.sent();
        if raw {
            // The kernel hands protocol 50 over with its IP header.
            for (octets, segment) in &mut sent {
                let header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 50, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1];
                octets.splice(0..0, header);
                *segment += header.len();
            }
        }
        bench.receive([sent]);
        assert!(bench.vpc.written().is_empty(), "nobody can open them yet");
        install(&bench.commands, GCM);
        bench.inward.take_commands(&bench.shared);
        bench.turn();
        let written: Vec<Vec<u8>> = bench.vpc.written().into_iter().map(|(_, packet)| packet).collect();
        let meant: Vec<Vec<u8>> =
            script.iter().map(|read| read[net::tun::VNET_HEADER_LEN..].to_vec()).collect();
        assert_eq!(written, meant, "raw: {raw}");
        assert_eq!(bench.shared.cells.drops().total(), 0);
    }
}
