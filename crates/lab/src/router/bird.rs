//! BIRD 2.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use ipnet::IpNet;

use super::{Router, Settings, command, prefixes, words};

pub(super) fn commands(directory: &Path, settings: &Settings) -> Result<Vec<Vec<String>>> {
    let (conf, socket, pid) = paths(directory);
    std::fs::write(&conf, configuration(directory, settings))?;
    Ok(vec![words(&["bird", "-f", "-c", &conf, "-s", &socket, "-P", &pid])])
}

fn paths(directory: &Path) -> (String, String, String) {
    let path = |name: &str| directory.join(name).display().to_string();
    (path("bird.conf"), path("bird.ctl"), path("bird.pid"))
}

fn configuration(directory: &Path, settings: &Settings) -> String {
    let family = if settings.ipv6() { "ipv6" } else { "ipv4" };
    let log = directory.join("router.log");
    let keepalive = settings.hold / 3;
    let Settings { local_as, peer_as, local, peer, router_id, hold, max_prefix, .. } = settings;
    let med = settings.med.map_or_else(String::new, |med| format!("bgp_med = {med}; "));
    let passive = if settings.passive { "passive;" } else { "" };
    let mut text = format!(
        "log \"{}\" all;\nrouter id {router_id};\nprotocol device {{ scan time 1; }}\n\
         protocol kernel {{ {family} {{ import none; export where source = RTS_BGP; }}; }}\n\
         protocol bgp cgw {{\n  local {local} as {local_as};\n  neighbor {peer} as {peer_as};\n  {passive}\n  \
         hold time {hold};\n  keepalive time {keepalive};\n  connect delay time 1;\n  connect retry time 2;\n  \
         error wait time 1, 2;\n  {family} {{\n    import limit {max_prefix} action disable;\n    import all;\n    \
         export filter {{ if source = RTS_STATIC then {{ {med}accept; }} reject; }};\n    next hop self;\n  }};\n}}\n\
         protocol static announced {{\n  {family};\n",
        log.display()
    );
    for prefix in &settings.announce {
        // Never into the kernel: only BGP takes it.
        let _ = writeln!(text, "  route {prefix} blackhole;");
    }
    text.push_str("}\n");
    text
}

pub(super) fn control(directory: &Path, question: &str) -> Command {
    let (_, socket, _) = paths(directory);
    let question = if question.is_empty() { "show status" } else { question };
    let mut command = command("birdc", &["-s", &socket]);
    command.args(question.split_whitespace());
    command
}

pub(super) fn established(router: &Router<'_>) -> bool {
    router.control("show protocols cgw").is_ok_and(|text| text.contains("Established"))
}

pub(super) fn learned(router: &Router<'_>) -> Result<Vec<IpNet>> {
    router.control("show route protocol cgw").map(|text| prefixes(&text))
}
