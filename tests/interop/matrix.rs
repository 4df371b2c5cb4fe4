//! Every phase 1 suite and every phase 2 suite that AWS and strongSwan share, each negotiated at least once.
//!
//! Phase 1: encryption x integrity (which names the PRF) x group; phase 2: encryption (x integrity for CBC) x
//! group. The two lists are paired, two pairs at a time (one per tunnel). The phase 2 group comes into play in
//! CREATE_CHILD_SA only (RFC 7296 §1.2), so each pair is rekeyed once, and traffic must pass before and after.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::aws_file::{Connection, Tunnel};
use lab::endpoint::{Allowed, Encryption, Hash};
use lab::strongswan::Settings;
use lab::topology::{Side, Topology};
use lab::wait;

use crate::rig::Rig;
use crate::world::World;

/// AWS's groups but 22-24, which RFC 8247 §2.4 forbids or advises against.
const PHASE1_GROUPS: [u16; 9] = [2, 14, 15, 16, 17, 18, 19, 20, 21];
/// Phase 2 has group 5 as well.
const PHASE2_GROUPS: [u16; 10] = [2, 5, 14, 15, 16, 17, 18, 19, 20, 21];
/// A handshake with MODP-8192 on a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
struct Suite {
    encryption: Encryption,
    hash: Hash,
    group: u16,
}

impl Suite {
    fn allowed(self) -> Allowed {
        Allowed { encryption: vec![self.encryption], integrity: vec![self.hash], groups: vec![self.group] }
    }

    fn ike(self) -> String {
        let prf = if self.encryption.is_aead() { "prf" } else { "" };
        format!("{}-{prf}{}-{}", self.encryption.swanctl(), self.hash.swanctl(), group(self.group))
    }

    fn esp(self) -> String {
        if self.encryption.is_aead() {
            format!("{}-{}", self.encryption.swanctl(), group(self.group))
        } else {
            format!("{}-{}-{}", self.encryption.swanctl(), self.hash.swanctl(), group(self.group))
        }
    }
}

impl Suite {
    /// The group's name in IANA's registry, as both sides print it.
    fn registry(self) -> String {
        match self.group {
            31 => "CURVE25519".to_owned(),
            _ => group(self.group).replace("modp", "MODP_").replace("ecp", "ECP_"),
        }
    }
}

/// swanctl's name of a group.
fn group(number: u16) -> &'static str {
    match number {
        2 => "modp1024",
        5 => "modp1536",
        14 => "modp2048",
        15 => "modp3072",
        16 => "modp4096",
        17 => "modp6144",
        18 => "modp8192",
        19 => "ecp256",
        20 => "ecp384",
        21 => "ecp521",
        _ => "curve25519",
    }
}

fn phase1() -> Vec<Suite> {
    let all = Encryption::ALL.into_iter().flat_map(|encryption| {
        Hash::ALL.into_iter().flat_map(move |hash| {
            PHASE1_GROUPS.into_iter().map(move |group| Suite { encryption, hash, group })
        })
    });
    all.collect()
}

fn phase2() -> Vec<Suite> {
    let all = Encryption::ALL.into_iter().flat_map(|encryption| {
        // With GCM there is no integrity to choose.
        let hashes = if encryption.is_aead() { &Hash::ALL[1..2] } else { &Hash::ALL[..] };
        hashes.iter().flat_map(move |&hash| {
            PHASE2_GROUPS.into_iter().map(move |group| Suite { encryption, hash, group })
        })
    });
    all.collect()
}

#[test]
fn every_suite_that_strongswan_and_aws_share_is_negotiated_and_carries_traffic() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let (first, second) = (phase1(), phase2());
    let count = first.len().max(second.len());
    // Walked at different strides, so that neighbours in one list do not always meet neighbours in the other.
    let pairs: Vec<(Suite, Suite)> =
        (0..count).map(|i| (first[i % first.len()], second[(i * 7) % second.len()])).collect();
    let covered: std::collections::BTreeSet<String> = pairs.iter().map(|(_, esp)| esp.esp()).collect();
    ensure!(covered.len() == second.len(), "the pairing leaves out a phase 2 suite");

    let mut table = Vec::new();
    let mut failures = Vec::new();
    let began = Instant::now();
    let mut world: Option<World<'_>> = None;
    for (number, two) in pairs.chunks(2).enumerate() {
        let two = [two[0], *two.last().unwrap_or(&two[0])];
        match negotiate(&rig.topology, &mut world, two) {
            Ok(lines) => table.extend(lines),
            Err(error) => {
                println!("round {number}: {two:?}: {error:#}");
                failures.push(format!("{two:?}"));
                world = None;
            }
        }
    }
    println!("{:<44} {:<38} {:>6}  child, before and after its rekey", "phase 1", "phase 2", "up s");
    table.iter().for_each(|line| println!("{line}"));
    println!(
        "{} phase 1 and {} phase 2 suites in {:.0} s, {} rounds failed",
        first.len(),
        second.len(),
        began.elapsed().as_secs_f64(),
        failures.len()
    );
    ensure!(failures.is_empty(), "failed: {}", failures.join("; "));
    Ok(())
}

/// One round: each tunnel with its own pair of suites.
fn negotiate<'t>(
    lab: &'t Topology,
    world: &mut Option<World<'t>>,
    pairs: [(Suite, Suite); 2],
) -> Result<Vec<String>> {
    let settings = Side::BOTH.map(|side| {
        let (ike, esp) = pairs[side.index()];
        Settings { ike_proposals: ike.ike(), esp_proposals: esp.esp(), ..Settings::aws(side) }
    });
    let tunnel = |side: Side| {
        let (ike, esp) = pairs[side.index()];
        Tunnel { phase1: ike.allowed(), phase2: esp.allowed(), ..Tunnel::lab(side) }
    };
    let connection = Connection { tunnels: Side::BOTH.map(tunnel).to_vec(), ..Connection::lab() };
    let world = match world {
        None => world.insert(World::prepare(lab, &connection, settings)?),
        Some(world) => {
            let [one, two] = settings;
            world.aws[0].load(one)?;
            world.aws[1].load(two)?;
            world.import(&connection)?;
            world
        }
    };
    let began = Instant::now();
    world.gateway.start()?;
    let mut lines = Vec::new();
    for side in Side::BOTH {
        world.gateway.wait_stage(side, "up", PATIENCE)?;
        let up = began.elapsed();
        let (ike, esp) = pairs[side.index()];
        let line = check(world, side, esp).with_context(|| format!("{} with {}", ike.ike(), esp.esp()))?;
        lines.push(format!("{:<44} {:<38} {:>6.2}  {line}", ike.ike(), esp.esp(), up.as_secs_f64()));
    }
    ensure!(world.gateway.stop(), "the daemon ends on SIGTERM");
    for aws in &world.aws {
        wait::until(Duration::from_secs(5), "strongSwan to have no SA", || {
            aws.sas().is_ok_and(|sas| sas.is_empty())
        })?;
    }
    Ok(lines)
}

/// Traffic passes, a rekey brings the phase 2 group into play, traffic passes again.
fn check(world: &World<'_>, side: Side, suite: Suite) -> Result<String> {
    let proposal = |world: &World<'_>| -> Result<String> {
        Ok(world.gateway.tunnel(side)?["child"]["proposal"].as_str().unwrap_or_default().to_owned())
    };
    let before = proposal(world)?;
    answers(world, side)?;
    let output = world.gateway.cli(&["rekey", "child", side.tunnel()])?;
    ensure!(output.status.success(), "cgwd rekey: {}", String::from_utf8_lossy(&output.stderr));
    wait::until(PATIENCE, "the child's rekey", || world.counter(side, "/child/rekeys").is_ok_and(|n| n > 0))?;
    answers(world, side)?;
    let sas = world.aws[side.index()].sas()?;
    let theirs = sas.iter().flat_map(|sa| &sa.children).find(|child| child.state == "INSTALLED");
    let theirs = theirs.context("no child at strongSwan")?;
    let after = proposal(world)?;
    ensure!(
        after.ends_with(&suite.registry())
            && theirs.proposal.replace("E_2", "E2").ends_with(&suite.registry()),
        "group: {after}"
    );
    Ok(format!("{before} -> {after} ({})", theirs.proposal))
}

/// The inside address of the endpoint answers through this very tunnel.
fn answers(world: &World<'_>, side: Side) -> Result<()> {
    let address = side.inside().addr().to_string();
    let ours = side.inside_ours().to_string();
    let ping = ["ping", "-n", "-q", "-c", "3", "-i", "0.05", "-W", "2", "-I", &ours, &address];
    world.lab.gw.run(&ping).map(drop)
}

#[test]
fn x25519_is_negotiated_in_both_phases() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // AWS does not offer it; for other peers the configuration file takes it.
    let suite = Suite { encryption: Encryption::Aes256Gcm16, hash: Hash::Sha2_256, group: 31 };
    let settings = Side::BOTH.map(|side| Settings {
        ike_proposals: suite.ike(),
        esp_proposals: suite.esp(),
        ..Settings::aws(side)
    });
    let named = |side| Tunnel {
        phase1: Suite { group: 19, ..suite }.allowed(),
        phase2: Suite { group: 19, ..suite }.allowed(),
        ..Tunnel::lab(side)
    };
    let connection = Connection { tunnels: Side::BOTH.map(named).to_vec(), ..Connection::lab() };
    let mut world = World::prepare(&rig.topology, &connection, settings)?;
    world.gateway.edit("routing = \"static\"", "routing = \"static\"\npeer = \"other\"")?;
    world.gateway.edit("dh_groups = [19]", "dh_groups = [31]")?;
    world.start()?;
    for side in Side::BOTH {
        println!("{}: {}", side.tunnel(), check(&world, side, suite)?);
        let proposal = world.gateway.tunnel(side)?["ike"]["proposal"].clone();
        ensure!(proposal.as_str().is_some_and(|p| p.contains("25519")), "{proposal}");
    }
    Ok(())
}
