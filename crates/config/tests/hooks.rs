//! `[[hook]]`, and interfaces that a reload keeps.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use config::{Config, HookEvent, parse};

const CONNECTION: &str = "[[connection]]\nid = \"vpn-1\"\nrouting = \"static\"\nlan = [\"10.10.0.0/16\"]\nvpc = [\"10.0.0.0/16\"]\n\
    [[connection.tunnel]]\noutside = \"198.51.100.1\"\ncustomer_gateway = \"192.0.2.1\"\ninside = \"169.254.10.2/30\"\npsk = \"lab_Psk.Tunnel1\"\n\
    [[connection.tunnel]]\noutside = \"203.0.113.1\"\ncustomer_gateway = \"192.0.2.1\"\ninside = \"169.254.20.2/30\"\npsk = \"lab_Psk.Tunnel2\"\n";

const OTHER: &str = "[[connection]]\nid = \"vpn-0\"\nrouting = \"static\"\nlan = [\"10.10.0.0/16\"]\nvpc = [\"10.9.0.0/16\"]\n\
    [[connection.tunnel]]\noutside = \"198.51.100.9\"\ncustomer_gateway = \"192.0.2.1\"\ninside = \"169.254.30.2/30\"\npsk = \"lab_Psk.Tunnel3\"\n";

fn load(text: &str) -> Config {
    parse(text, "cgwd.toml").unwrap().config
}

fn complaint(hook: &str) -> String {
    parse(&format!("{CONNECTION}[[hook]]\n{hook}\n"), "cgwd.toml").unwrap_err().render(false)
}

#[test]
fn a_hook_is_a_program_with_arguments_and_what_it_is_told_of() {
    let config = load(&format!(
        "{CONNECTION}[[hook]]\non = [\"tunnel-up\", \"route\", \"tunnel-up\"]\nrun = [\"/bin/echo\", \"a b\"]\ntimeout = \"1m\"\n\
         [[hook]]\non = [\"egress\"]\nrun = [\"/bin/true\"]\n"
    ));
    assert_eq!(config.hooks[0].on, [HookEvent::TunnelUp, HookEvent::Route]);
    assert_eq!(config.hooks[0].run, ["/bin/echo", "a b"]);
    assert_eq!(config.hooks[0].timeout, Duration::from_secs(60));
    assert_eq!(config.hooks[1].timeout, Duration::from_secs(10));
}

#[test]
fn every_slip_in_a_hook_has_its_remedy() {
    for (hook, parts) in [
        ("on = [\"tunnel-up\"]\nrun = \"/bin/echo hello\"", ["no shell", "run = ["]),
        ("on = [\"tunnel-up\"]\nrun = [\"echo\"]", ["no absolute path", "start it with /"]),
        ("on = [\"tunnel-up\"]\nrun = []", ["names no program", "/path/to/program"]),
        ("on = [\"up\"]\nrun = [\"/bin/true\"]", ["no event", "tunnel-down"]),
        ("on = []\nrun = [\"/bin/true\"]", ["never run", "redundancy"]),
        ("run = [\"/bin/true\"]", ["has no `on`", "add `on"]),
        ("on = [\"route\"]", ["has no `run`", "add `run"]),
        ("on = [\"route\"]\nrun = [\"/bin/true\"]\ntimeout = \"2h\"", ["out of range", "choose a value"]),
    ] {
        let text = complaint(hook);
        assert!(parts.iter().all(|part| text.contains(part)), "{hook}\n{text}");
    }
}

#[test]
fn a_tunnel_added_in_front_renumbers_nobody() {
    let running = load(CONNECTION);
    let names = |config: &Config| {
        config.tunnels().map(|(c, t)| format!("{} {}", c.id, t.interface)).collect::<Vec<_>>()
    };
    let mut changed = load(&format!("{OTHER}{CONNECTION}"));
    assert_eq!(names(&changed), ["vpn-0 cgw0", "vpn-1 cgw1", "vpn-1 cgw2"]);
    changed.keep_interfaces(&running);
    assert_eq!(names(&changed), ["vpn-0 cgw2", "vpn-1 cgw0", "vpn-1 cgw1"]);
    // And removed again.
    let mut back = load(CONNECTION);
    back.keep_interfaces(&changed);
    assert_eq!(names(&back), ["vpn-1 cgw0", "vpn-1 cgw1"]);
    // A name that the file gives counts, also against a running tunnel.
    let mut given = load(&format!("{}{CONNECTION}", OTHER.replace("psk =", "interface = \"cgw0\"\npsk =")));
    given.keep_interfaces(&running);
    assert_eq!(names(&given), ["vpn-0 cgw0", "vpn-1 cgw2", "vpn-1 cgw1"]);
}
