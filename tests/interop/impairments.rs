//! Every way in which libreswan 4.10 can be told to misbehave in IKEv2 (`whack --impair`), one after the other: the daemon
//! neither crashes nor hangs, and the tunnel is there again soon after the misbehaviour ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::libreswan::Settings;
use lab::topology::VPC_HOST;
use lab::traffic;

use crate::rig::Rig;
use crate::uml_world::{LibreswanWorld, SIDE};

/// The tunnel must carry packets again this soon.
const RECOVERED: Duration = Duration::from_secs(30);
/// Between two things that are done under an impairment.
const PAUSE: Duration = Duration::from_millis(700);
/// How long is waited for a peer whose daemon had to be started again.
const RESTARTED: Duration = Duration::from_secs(90);

/// What is set, separated by blanks where it takes two. `#IKE` and `#CHILD` stand for the number of the newest SA.
const SETTINGS: &[&str] = &[
    "bad-ikev2-auth-xchg",
    "child-key-length-attribute:omit",
    "child-key-length-attribute:empty",
    "child-key-length-attribute:duplicate",
    "child-key-length-attribute:77",
    "corrupt-encrypted",
    "delete-on-retransmit",
    "emitting",
    "ike-initiator-spi:1",
    "ike-responder-spi:1",
    "ike-key-length-attribute:omit",
    "ike-key-length-attribute:empty",
    "ike-key-length-attribute:duplicate",
    "ike-key-length-attribute:77",
    "v2-proposal-integ:allow-none",
    "v2-proposal-integ:drop-none",
    "v2-proposal-integ:omit",
    "v2-proposal-dh:allow-none",
    "v2-proposal-dh:drop-none",
    "v2-proposal-dh:omit",
    "ikev2-add-ike-transform:66535",
    "ikev2-add-ike-transform:589925",
    "ikev2-add-child-transform:66535",
    "ikev2-add-child-transform:589925",
    "jacob-two-two",
    "ke-payload:omit",
    "ke-payload:empty",
    "ke-payload:duplicate",
    "ke-payload:0",
    "ke-payload:255",
    "major-version-bump",
    "minor-version-bump",
    "childless-ikev2-supported",
    "ignore-v2n-signature-hash-algorithms",
    "omit-v2n-signature-hash-algorithms",
    "rekey-initiate-supernet",
    "rekey-initiate-subnet",
    "rekey-respond-supernet",
    "rekey-respond-subnet",
    "replay-backward",
    "replay-duplicates",
    "replay-encrypted",
    "replay-forward",
    "revival",
    "sa-creation",
    "send-bogus-dcookie",
    "send-bogus-isakmp-flag",
    "send-bogus-payload-flag",
    "send-no-delete",
    "send-no-ikev2-auth",
    "send-no-idr",
    "send-nonzero-reserved",
    "send-nonzero-reserved-id",
    "suppress-retransmits",
    "timeout-on-retransmit",
    "initiate-v2-liveness:#IKE",
    "send-keepalive:#IKE",
    "drop-incoming:1",
    "drop-incoming:2",
    "drop-outgoing:1",
    "drop-outgoing:2",
    "add-unknown-v2-payload-to:IKE_SA_INIT",
    "add-unknown-v2-payload-to:IKE_AUTH",
    "add-unknown-v2-payload-to:CREATE_CHILD_SA",
    "add-unknown-v2-payload-to:INFORMATIONAL",
    "add-unknown-v2-payload-to-sk:IKE_AUTH",
    "add-unknown-v2-payload-to-sk:CREATE_CHILD_SA",
    "add-unknown-v2-payload-to-sk:INFORMATIONAL",
    "add-unknown-v2-payload-to:IKE_SA_INIT unknown-v2-payload-critical",
    "add-unknown-v2-payload-to-sk:IKE_AUTH unknown-v2-payload-critical",
    "add-unknown-v2-payload-to-sk:CREATE_CHILD_SA unknown-v2-payload-critical",
    "add-unknown-v2-payload-to-sk:INFORMATIONAL unknown-v2-payload-critical",
    "ignore-soft-expire",
    "ignore-hard-expire",
    "force-v2-auth-method:RESERVED",
    "force-v2-auth-method:RSA",
    "force-v2-auth-method:ECDSA_SHA2_384_P384",
    "force-v2-auth-method:NULL",
    "force-v2-auth-method:DIGSIG",
    "omit-v2-ike-auth-child",
    "ignore-v2-ike-auth-child",
    "trigger:REINIT_SECRET",
    "trigger:SHUNT_SCAN",
    "trigger:PENDING_PHASE2",
    "trigger:REVIVE_CONNS",
    "trigger:NAT_T_KEEPALIVE",
    "trigger:PROCESS_KERNEL_QUEUE",
    "event-v2-rekey:#IKE",
    "event-v2-rekey:#CHILD",
    "event-v2-reauth:#IKE",
    "event-v2-liveness:#IKE",
    "event-v2-liveness:#CHILD",
    "event-sa-replace:#IKE",
    "event-sa-replace:#CHILD",
];

/// What came of one setting.
struct Row {
    setting: &'static str,
    /// The tunnel was up whenever it was asked.
    steady: bool,
    /// Our events while it was set, by code.
    noted: BTreeMap<String, usize>,
    remark: String,
    recovered: Option<Duration>,
}

impl Row {
    fn markdown(&self) -> String {
        let noted: Vec<String> = self
            .noted
            .iter()
            .map(|(code, times)| if *times == 1 { code.clone() } else { format!("{code} ×{times}") })
            .collect();
        let steady = if self.steady { "stays up" } else { "falls" };
        let recovered =
            self.recovered.map_or_else(|| "**not**".to_owned(), |it| format!("{:.1}", it.as_secs_f64()));
        format!(
            "| `{}` | {steady} | {}{} | {recovered} |",
            self.setting.replace(' ', "` `"),
            noted.join(", "),
            self.remark
        )
    }
}

/// The number of the newest SA of a kind in libreswan's status.
fn newest(status: &str, kind: &str) -> String {
    let lines = status.lines().filter(|line| line.contains(kind));
    let numbers = lines.filter_map(|line| line.split_once('#')?.1.split(':').next()?.parse::<u32>().ok());
    numbers.max().unwrap_or(1).to_string()
}

fn impair(world: &LibreswanWorld<'_>, setting: &str) -> Result<()> {
    let (status, _) = world.peer.whack("--showstates")?;
    for one in setting.split(' ') {
        let one = one
            .replace("#IKE", &newest(&status, "ESTABLISHED_IKE_SA"))
            .replace("#CHILD", &newest(&status, "ESTABLISHED_CHILD_SA"));
        let (said, status) = world.peer.whack(&format!("--impair {one}"))?;
        ensure!(status == 0 || !said.contains("ignoring"), "libreswan does not know {one}: {said}");
    }
    Ok(())
}

/// Everything that makes the two talk, each side beginning in turn; whether the tunnel was up after each.
fn exercise(world: &LibreswanWorld<'_>) -> Result<bool> {
    let tunnel = SIDE.tunnel();
    let mut steady = true;
    let mut rest = |judge: bool| {
        std::thread::sleep(PAUSE);
        steady &= !judge || world.gateway.stage(SIDE) == "up";
    };
    world.gateway.cli(&["rekey", "child", tunnel])?;
    rest(true);
    world.gateway.cli(&["rekey", "ike", tunnel])?;
    rest(true);
    world.peer.rekey_child()?;
    rest(true);
    world.peer.rekey_ike()?;
    rest(true);
    world.peer.whack("--initiate --name aws --asynchronous")?;
    rest(true);
    // From here on it may be down for a moment: a new IKE SA is asked for.
    world.gateway.cli(&["reset", tunnel])?;
    rest(false);
    rest(false);
    Ok(steady)
}

/// Up, and a datagram makes it there and back.
fn wait_until_it_carries(world: &LibreswanWorld<'_>, rig: &Rig, timeout: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < timeout {
        let up = world.gateway.stage(SIDE) == "up";
        if up && traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, Duration::from_millis(300)).is_ok() {
            return Some(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

fn run(world: &LibreswanWorld<'_>, rig: &Rig, setting: &'static str) -> Result<Row> {
    let before = world.gateway.events()?.len();
    impair(world, setting)?;
    let steady = exercise(world)?;
    let mut noted = BTreeMap::new();
    for event in world.gateway.events()?.iter().skip(before) {
        let code = event["code"].as_str().unwrap_or_default();
        if ["IKE-", "IPSEC-", "TUN"].iter().any(|kind| code.starts_with(kind)) {
            *noted.entry(code.to_owned()).or_insert(0) += 1;
        }
    }
    let (mut remark, mut recovered) = (String::new(), None);
    if world.peer.is_running() {
        world.peer.whack("--impair none")?;
        recovered = wait_until_it_carries(world, rig, RECOVERED);
    }
    if !world.peer.is_running() {
        remark = "; libreswan itself crashed and was started again".to_owned();
        world.peer.restart()?;
        recovered = wait_until_it_carries(world, rig, RECOVERED);
    }
    if recovered.is_none() {
        println!("{setting}: not recovered\n{}\n{}", world.gateway.tunnel(SIDE)?, world.peer.log());
        world.peer.restart()?;
        wait_until_it_carries(world, rig, RESTARTED).context("not even with a new libreswan")?;
    }
    Ok(Row { setting, steady, noted, remark, recovered })
}

/// Writes the table where the documents are, when it is asked for.
fn publish(rows: &[Row]) -> Result<()> {
    let mut text = String::from(HEAD);
    for row in rows {
        let _ = writeln!(text, "{}", row.markdown());
    }
    println!("{text}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/impairments.md")), text)?;
    }
    Ok(())
}

const HEAD: &str = "# What a misbehaving peer can do

libreswan has switches that make it misbehave (`whack --impair`). Every one of version 4.10 that touches IKEv2 was set against the
daemon, one at a time, with libreswan on a Linux kernel's ESP (protocol 50). While it is set, each side rekeys the child and the
IKE SA, libreswan initiates, and `cgwd reset` asks for everything anew; then it is cleared. *Recovered* is the time from there to
the first datagram that makes it from the LAN to the VPC and back; it must be below 30 s. The daemon is one process throughout.
`CODE ×n` are our events while it was set. Switches of IKEv1, TCP, DNS, FIPS and of its own parsers are left out.
libreswan took each setting; that each showed on the wire was not looked at one by one, so a row that looks undisturbed may be one
that had no occasion to misbehave.

Written by `UPDATE_DOCS=1 CGWD_SOAK=1 cargo test -p lab --test interop -- --nocapture impairments`; `CGWD_IMPAIR=ke-,replay` tries only
those that begin so.

| setting | the tunnel meanwhile | what `cgwd events` says | recovered after s |
|---|---|---|---:|
";

#[test]
fn every_impairment_of_libreswan_is_survived_and_forgotten_within_half_a_minute() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let world = LibreswanWorld::up(&rig.topology, &Settings::aws(SIDE), |_| Ok(()))?;
    let pid = world.gateway.pid();
    let only = std::env::var("CGWD_IMPAIR").unwrap_or_default();
    let mut rows = Vec::new();
    let wanted = |setting: &&&str| only.split(',').any(|start| setting.starts_with(start));
    for &setting in SETTINGS.iter().filter(wanted) {
        let row =
            run(&world, &rig, setting).with_context(|| format!("{setting}\n{}", world.gateway.log()))?;
        println!("{}", row.markdown());
        if world.gateway.status().is_err() {
            bail!("the daemon did not survive {setting}:\n{}", world.gateway.log());
        }
        rows.push(row);
    }
    if only.is_empty() {
        publish(&rows)?;
    }
    let alive = pid.is_some_and(lab::cleanup::is_running);
    ensure!(alive && world.gateway.pid() == pid, "the daemon is one process throughout");
    ensure!(!world.gateway.log().contains("panicked"), "{}", world.gateway.log());
    let late: Vec<&str> = rows.iter().filter(|row| row.recovered.is_none()).map(|row| row.setting).collect();
    ensure!(late.is_empty(), "not recovered within {} s: {late:?}", RECOVERED.as_secs());
    Ok(())
}
