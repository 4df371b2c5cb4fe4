//! `cgwd`, as its users run it, against the lab's own stand-in for AWS; and our data plane alone.

use anyhow::Result;

use super::{Running, words};
use crate::bench::rig::{AWS, GW, LAN, Rig, Role, VPC};
use crate::traffic::binary;

const KEY: &str = "bench_Psk.Tunnel1";

/// `encapsulation` is the configuration's word: `udp`, or `auto` for protocol 50 (there is no NAT here).
pub(super) fn cgwd<'r>(rig: &'r Rig, encapsulation: &str) -> Result<Running<'r>> {
    let mut running = Running::default();
    let psk = rig.scratch().join("psk");
    std::fs::write(&psk, KEY)?;
    let endpoint = format!(
        "{} endpoint --local={AWS} --peer={GW} --psk-file={} --inside=169.254.10.1/30 --interface=vti0 --route={LAN} \
         --phase1-encryption=AES256-GCM-16 --phase2-encryption=AES256-GCM-16",
        binary("cgwd-lab")?.display(),
        psk.display()
    );
    running.add(rig, Role::Aws, &words(&endpoint), &[("RUST_LOG", "warn")])?;
    let config = rig.scratch().join("cgwd.toml");
    std::fs::write(&config, configuration(encapsulation))?;
    let socket = rig.scratch().join("control.sock");
    let daemon = format!(
        "{} run --config {} --socket {}",
        binary("cgwd")?.display(),
        config.display(),
        socket.display()
    );
    running.add(rig, Role::Gw, &words(&daemon), &[])?;
    running.interface(Role::Gw, "cgw0");
    running.interface(Role::Aws, "vti0");
    Ok(running)
}

fn configuration(encapsulation: &str) -> String {
    format!(
        "[[connection]]\nid = \"vpn-0123456789abcdef0\"\nrouting = \"static\"\nlan = [\"{LAN}\"]\nvpc = \
         [\"{VPC}\"]\n\n[[connection.tunnel]]\nname = \"tunnel1\"\noutside = \"{AWS}\"\ncustomer_gateway = \
         \"{GW}\"\ninside = \"169.254.10.2/30\"\npsk = \"{KEY}\"\nencapsulation = \"{encapsulation}\"\n"
    )
}

/// The data plane without a negotiator, on both sides.
pub(super) fn plane<'r>(rig: &'r Rig, raw: bool) -> Result<Running<'r>> {
    let mut running = Running::default();
    for (role, end, ours, theirs, inside, route) in [
        (Role::Gw, "gw", GW, AWS, "169.254.10.2/30", VPC),
        (Role::Aws, "aws", AWS, GW, "169.254.10.1/30", LAN),
    ] {
        let command = format!(
            "{} bench plane --local {ours}:4500 --remote {theirs}:4500 --end {end} --inside {inside} {}",
            binary("cgwd-lab")?.display(),
            if raw { "--raw" } else { "" }
        );
        running.add(rig, role, &words(&command), &[])?;
        running.interface(role, "cgw0");
        running.route(rig, role, "cgw0", route)?;
    }
    Ok(running)
}
