//! Many connections in one daemon: whether all come up, and what each one costs while it does nothing.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Values;
use crate::bench::contender;
use crate::bench::machine;
use crate::bench::rig::{GW, LAN, Rig, Role};
use crate::process::Process;
use crate::traffic::binary;

/// How long all of them may take to come up.
const UP: Duration = Duration::from_secs(90);
/// Over how long the idle daemon's CPU time is taken.
const IDLE: Duration = Duration::from_secs(10);

/// Runs one daemon with `connections` of two tunnels each, every one with an endpoint of its own.
pub(in crate::bench) fn run(rig: &Rig, connections: u32) -> Result<Values> {
    let psk = rig.scratch().join("psk");
    std::fs::write(&psk, KEY)?;
    let lab = binary("cgwd-lab")?.display().to_string();
    let mut endpoints = Vec::new();
    let mut addresses = Vec::new();
    let mut config = String::new();
    for connection in 0..connections {
        let _ = write!(
            config,
            "[[connection]]\nid = \"vpn-{connection:017x}\"\nrouting = \"static\"\nlan = [\"{LAN}\"]\nvpc = \
             [\"172.20.{connection}.0/24\"]\n"
        );
        for tunnel in [2 * connection, 2 * connection + 1] {
            let (outside, inside) = (format!("198.51.100.{}", tunnel + 1), inside(tunnel));
            addresses.push(format!("addr add {outside}/32 dev wan0"));
            let _ = write!(
                config,
                "\n[[connection.tunnel]]\noutside = \"{outside}\"\ncustomer_gateway = \"{GW}\"\ninside = \"{}/30\"\npsk = \
                 \"{KEY}\"\nencapsulation = \"udp\"\n\n",
                inside(2)
            );
            let command = format!(
                "{lab} endpoint --local={outside} --peer={GW} --psk-file={} --inside={}/30 --interface=vti{tunnel} \
                 --route=10.100.{tunnel}.0/24",
                psk.display(),
                inside(1)
            );
            endpoints.push(command);
        }
    }
    rig.aws.ip_batch(&addresses)?;
    rig.gw.ip("route add 198.51.100.0/24 via 192.0.2.2")?;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let warn = [("RUST_LOG", "warn")];
    let spawned: Result<Vec<Process>> = endpoints
        .iter()
        .map(|command| contender::spawn(rig, Role::Aws, &words(command), &warn, false))
        .collect();
    let _endpoints = spawned?;
    let path = rig.scratch().join("cgwd.toml");
    std::fs::write(&path, config)?;
    let socket = rig.scratch().join("control.sock").display().to_string();
    let cgwd = binary("cgwd")?.display().to_string();
    let command = format!("{cgwd} run --config {} --socket {socket}", path.display());
    let start = Instant::now();
    let mut daemon = contender::spawn(rig, Role::Gw, &words(&command), &[], false)?;
    let timeout = format!("{}s", UP.as_secs());
    let wait = ["--socket", &socket, "wait", "--for", "all", "--timeout", &timeout];
    while !std::path::Path::new(&socket).exists() {
        if !daemon.is_running() || start.elapsed() > UP {
            bail!("cgwd did not start: {}", std::fs::read_to_string(daemon.log()).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    rig.gw.run(&[&[cgwd.as_str()], &wait[..]].concat()).context("not all tunnels came up")?;
    let up = start.elapsed().as_secs_f64();
    // What the negotiations left to be done is done by then.
    std::thread::sleep(Duration::from_secs(3));
    let before = machine::process(daemon.pid());
    std::thread::sleep(IDLE);
    let busy = machine::process(daemon.pid()) - before;
    let (now, highest) = machine::memory(daemon.pid());
    let tunnels = f64::from(2 * connections);
    Ok(Values::from(
        [
            ("tunnels", tunnels),
            ("all_up_s", up),
            ("rss_mib", now),
            ("highest_mib", highest),
            ("idle_cpu_ms_per_s", busy * 1e3 / IDLE.as_secs_f64()),
            ("idle_cpu_us_per_s_and_tunnel", busy * 1e6 / IDLE.as_secs_f64() / tunnels),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    ))
}

const KEY: &str = "bench_Psk.Tunnel1";

/// The inside addresses of a tunnel, by the host's number: blocks of four within 169.254.0.0/16, none of them AWS's.
fn inside(tunnel: u32) -> impl Fn(u32) -> String {
    move |host| {
        let at = 0x1000 + 4 * tunnel + host;
        format!("169.254.{}.{}", at >> 8, at & 0xff)
    }
}
