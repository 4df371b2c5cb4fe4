//! IKE fragmentation (RFC 7383) with strongSwan: both cut what they send, through a way that takes 576 octets.

use anyhow::{Result, ensure};
use lab::aws_file::{Connection, Tunnel};
use lab::endpoint::Allowed;
use lab::strongswan::Settings;
use lab::topology::Side;
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, World};

/// MODP-4096: its public value alone has 512 octets.
const GROUP: u16 = 16;

#[test]
fn strongswan_and_we_put_each_others_fragments_together() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let settings = Side::BOTH.map(|side| Settings {
        extra: "fragmentation = force".to_owned(),
        daemon: "fragment_size = 300".to_owned(),
        ..Settings::aws(side)
    });
    let tunnel = |side: Side| {
        let lab = Tunnel::lab(side);
        let phase1 = Allowed { groups: vec![GROUP], ..lab.phase1.clone() };
        Tunnel { phase1, ..lab }
    };
    let connection = Connection { tunnels: Side::BOTH.map(tunnel).to_vec(), ..Connection::lab() };
    let mut world = World::prepare(&rig.topology, &connection, settings)?;
    world.gateway.edit("[connection.tunnel.ike]\n", "[connection.tunnel.ike]\nfragment_size = 576\n")?;
    world.start()?;
    let side = Side::One;
    for (number, theirs) in [(1, false), (2, true)] {
        if theirs {
            world.aws[side.index()].rekey_ike()?;
        } else {
            let output = world.gateway.cli(&["rekey", "ike", side.tunnel()])?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        wait::until(BACK, "the IKE rekey", || {
            world.counter(side, "/ike/rekeys").is_ok_and(|count| count >= number)
        })?;
    }
    world.wait_for_one_pair(side)?;
    let log = world.aws[side.index()].log();
    let count = |what: &str| log.matches(what).count();
    let (cut, joined) = (count("splitting IKE message"), count("reassembled fragmented IKE message"));
    println!("strongSwan cut {cut} messages and put {joined} of ours together");
    // Its answer to our rekey, and its own rekey; of ours the same two.
    ensure!(cut >= 2 && joined >= 2, "fragments in both directions:\n{log}");
    Ok(())
}
