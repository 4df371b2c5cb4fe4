//! FRR: zebra for the kernel, bgpd for the session.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde_json::Value;

use super::{Router, Settings, command, words};

/// Where bgpd finds zebra.
pub(super) const ZEBRA: &str = "zserv.api";

pub(super) fn commands(directory: &Path, settings: &Settings) -> Result<Vec<Vec<String>>> {
    let path = |name: &str| directory.join(name).display().to_string();
    let log = format!("log file {} debugging\n", path("router.log"));
    std::fs::write(path("zebra.conf"), &log)?;
    std::fs::write(path("bgpd.conf"), log + &configuration(settings))?;
    let daemon = |name: &str| {
        let (conf, pid) = (path(&format!("{name}.conf")), path(&format!("{name}.pid")));
        let program = format!("/usr/lib/frr/{name}");
        words(&[
            &program,
            "-f",
            &conf,
            "-i",
            &pid,
            "-z",
            &path(ZEBRA),
            "--vty_socket",
            &directory.display().to_string(),
            // No telnet ports.
            "-P",
            "0",
        ])
    };
    Ok(vec![daemon("zebra"), daemon("bgpd")])
}

fn configuration(settings: &Settings) -> String {
    let Settings { local_as, peer_as, peer, router_id, hold, max_prefix, .. } = settings;
    let family = if settings.ipv6() { "ipv6" } else { "ipv4" };
    let keepalive = settings.hold / 3;
    let passive = if settings.passive { format!(" neighbor {peer} passive\n") } else { String::new() };
    let mut text = format!(
        "debug bgp neighbor-events\nrouter bgp {local_as}\n bgp router-id {router_id}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n no bgp default ipv4-unicast\n neighbor {peer} remote-as {peer_as}\n{passive} \
         neighbor {peer} timers {keepalive} {hold}\n neighbor {peer} timers connect 2\n address-family {family} \
         unicast\n  neighbor {peer} activate\n  neighbor {peer} route-map OUT out\n  neighbor {peer} maximum-prefix \
         {max_prefix}\n"
    );
    for prefix in &settings.announce {
        let _ = writeln!(text, "  network {prefix}");
    }
    for line in settings.extra.lines() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = write!(text, " exit-address-family\nexit\nroute-map OUT permit 10\n{}", set_med(settings));
    text
}

fn set_med(settings: &Settings) -> String {
    settings.med.map_or_else(String::new, |med| format!(" set metric {med}\n"))
}

pub(super) fn control(directory: &Path, question: &str) -> Command {
    let mut command = command("vtysh", &["--vty_socket", &directory.display().to_string()]);
    // Answered only when bgpd is there, not just zebra.
    let question = if question.is_empty() { "show bgp summary" } else { question };
    for line in question.lines() {
        command.arg("-c").arg(line);
    }
    command
}

pub(super) fn reconfigure(router: &Router<'_>, old: &Settings) -> Result<()> {
    let new = &router.settings;
    let family = if new.ipv6() { "ipv6" } else { "ipv4" };
    let mut lines = vec!["configure terminal".to_owned()];
    if new.med != old.med {
        lines.extend([
            "route-map OUT permit 10".to_owned(),
            set_med(new).trim().to_owned(),
            "exit".to_owned(),
        ]);
    }
    lines.push(format!("router bgp {}", new.local_as));
    lines.push(format!("address-family {family} unicast"));
    lines.extend(
        new.announce.iter().filter(|it| !old.announce.contains(it)).map(|it| format!("network {it}")),
    );
    lines.extend(
        old.announce.iter().filter(|it| !new.announce.contains(it)).map(|it| format!("no network {it}")),
    );
    router.control(&lines.join("\n"))?;
    router.control(&format!("clear bgp {family} unicast {} soft out", new.peer)).map(drop)
}

pub(super) fn neighbour(router: &Router<'_>) -> Result<Value> {
    let peer = router.settings.peer.to_string();
    let text = router.control(&format!("show bgp neighbors {peer} json"))?;
    let mut all: Value = serde_json::from_str(&text)?;
    Ok(all.get_mut(&peer).context("no such neighbour")?.take())
}

pub(super) fn learned(router: &Router<'_>) -> Result<Vec<IpNet>> {
    let (peer, family) = (router.settings.peer, if router.settings.ipv6() { "ipv6" } else { "ipv4" });
    let text = router.control(&format!("show bgp {family} unicast neighbors {peer} routes json"))?;
    let all: Value = serde_json::from_str(&text)?;
    let routes = all["routes"].as_object().context("no routes")?;
    Ok(routes.keys().filter_map(|prefix| prefix.parse().ok()).collect())
}
