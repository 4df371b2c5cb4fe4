//! libreswan 4.10 on a Linux kernel's own ESP: protocol 50, extended sequence numbers, rekeys from either side.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::delay::DelayLine;
use lab::libreswan::Settings;
use lab::wait;

use crate::rig::Rig;
use crate::uml_world::{BothWays, LibreswanWorld, SIDE, shorten};

const SETTLED: Duration = Duration::from_secs(10);
const TIDIED: Duration = Duration::from_millis(1200);
const CHILD_REKEYS: u64 = 200;
const IKE_REKEYS: u64 = 50;
/// What its log says then.
const LOST_COUNT: &str = "EXPECTATION FAILED: ike->sa.st_v2_msgid_windows";
const PATIENCE: Duration = Duration::from_secs(2400);

#[test]
fn the_kernels_esp_over_protocol_50_with_extended_sequence_numbers_loses_nothing_to_rekeys() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let began = Instant::now();
    let world = LibreswanWorld::up(&rig.topology, &Settings::aws(SIDE), |_| Ok(()))?;
    println!("up {:.1} s after the kernel was started", began.elapsed().as_secs_f64());
    let child = world.gateway.tunnel(SIDE)?["child"].clone();
    ensure!(child["encapsulation"] == "esp", "{child}");
    ensure!(child["proposal"].as_str().is_some_and(|it| it.contains("ESN")), "{child}");
    let sas = world.peer.esp_sas()?;
    ensure!(sas.matches("flag af-unspec esn").count() == 2 && !sas.contains("encap"), "{sas}");
    let pings = BothWays::start(&rig.topology)?;
    std::thread::sleep(Duration::from_secs(1));
    for number in 0..3 {
        let context = || format!("round {number}: {}", world.peer.log());
        for (what, by) in [("child", By::Us), ("child", By::Them), ("ike", By::Us), ("ike", By::Them)] {
            rekey(&world, what, by).with_context(context)?;
        }
    }
    pings.none_lost()?;
    let sas = world.peer.esp_sas()?;
    ensure!(sas.contains("replay-window 0 replay 0 failed 0"), "the kernel refused nothing of ours: {sas}");
    let drops = world.gateway.tunnel(SIDE)?["child"]["drops"].clone();
    ensure!(
        drops["auth"] == 0 && drops["no_sa"] == 0 && drops["replay"] == 0,
        "nor we of the kernel's: {drops}"
    );
    Ok(())
}

fn ours(world: &LibreswanWorld<'_>, words: &[&str]) -> Result<()> {
    let output = world.gateway.cli(words)?;
    ensure!(output.status.success(), "cgwd {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum By {
    Us,
    Them,
}

/// Starts a rekey of the child or the IKE SA, and waits until our status counts it.
fn rekey(world: &LibreswanWorld<'_>, what: &str, by: By) -> Result<()> {
    let pointer = format!("/{what}/rekeys");
    let before = world.counter(&pointer)?;
    match (what, by) {
        (_, By::Us) => ours(world, &["rekey", what, SIDE.tunnel()])?,
        ("child", By::Them) => world.peer.rekey_child()?,
        (_, By::Them) => world.peer.rekey_ike()?,
    }
    let awaited = format!("{pointer}, asked {by:?}, to pass {before}");
    wait::until(SETTLED, &awaited, || world.counter(&pointer).is_ok_and(|count| count > before)).map(drop)
}

#[test]
fn two_hundred_child_and_fifty_ike_rekeys_from_either_side_lose_nothing() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let world = LibreswanWorld::up(&rig.topology, &Settings::aws(SIDE), |_| Ok(()))?;
    let pings = BothWays::start(&rig.topology)?;
    let (began, mut asked) = (Instant::now(), [By::Us, By::Them].into_iter().cycle());
    for round in 0..IKE_REKEYS {
        let context = || format!("round {round}: {}", world.peer.log());
        for what in ["child", "child", "child", "child", "ike"] {
            rekey(&world, what, asked.next().unwrap_or(By::Us)).with_context(context)?;
            // libreswan deletes what it has replaced up to a second later; more than a handful at once are refused.
            std::thread::sleep(TIDIED);
        }
    }
    let log = world.gateway.log();
    println!(
        "{} child and {IKE_REKEYS} IKE rekeys in {:.0} s, of them by the peer {} and {}",
        4 * IKE_REKEYS,
        began.elapsed().as_secs_f64(),
        log.matches("child SA rekeyed by AWS").count(),
        log.matches("IKE SA rekeyed by AWS").count(),
    );
    pings.none_lost()
}

#[test]
fn two_hundred_child_and_fifty_ike_rekeys_in_step_with_libreswan_lose_only_what_it_loses() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let mut settings = Settings::aws(SIDE);
    // It replaces a child after 5 s when it answered for it, after 4 when it asked; the IKE SA after 18 or 17; to the second.
    settings
        .extra
        .extend(["ikelifetime=19s", "salifetime=6s", "rekeymargin=2s", "rekeyfuzz=0%"].map(str::to_owned));
    let _way = DelayLine::lay(&rig.topology, Duration::from_millis(80))?;
    let world = LibreswanWorld::up(&rig.topology, &settings, shorten)?;
    let pings = BothWays::start(&rig.topology)?;
    let began = Instant::now();
    let (mut child, mut ike) = (0, 0);
    while (child < CHILD_REKEYS || ike < IKE_REKEYS) && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_secs(2));
        let log = world.gateway.log();
        let count = |words: &str| log.matches(words).count() as u64;
        (child, ike) = (count("IPSEC-REKEYED"), count("IKE-REKEYED"));
    }
    let log = world.gateway.log();
    let count = |words: &str| log.matches(words).count();
    println!(
        "{child} child and {ike} IKE rekeys in {:.0} s, of them by the peer {} and {}",
        began.elapsed().as_secs_f64(),
        count("child SA rekeyed by AWS"),
        count("IKE SA rekeyed by AWS"),
    );
    let reports = pings.stop()?;
    let log = world.peer.log();
    // Version 4.10 loses count of its messages when two rekeys of children cross (mended in 5.1): it answers nothing then, and
    // sends by keys that nobody else has. Only what is lost so is not ours.
    let its_own = log.matches(LOST_COUNT).count();
    println!("libreswan lost count of its messages {its_own} times");
    let outages = reports.iter().map(|report| report.outages.len()).max().unwrap_or(0);
    ensure!(outages <= its_own, "{outages} outages, {its_own} of them libreswan's: {reports:?}");
    ensure!(child >= CHILD_REKEYS && ike >= IKE_REKEYS, "{child} child and {ike} IKE rekeys");
    Ok(())
}
