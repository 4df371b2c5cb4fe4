//! Writes the TOML file: commented, in a fixed order, only what differs from the defaults or is worth seeing.

use std::fmt::{Display, Write as _};

use super::choose::Offer;
use super::plan::{Plan, PlanKey, PlanRouting, PlanTunnel};

/// Prefixes a transit gateway takes from us.
const TRANSIT_ADVERTISED: u32 = 1000;

/// The whole file.
pub(super) fn write(plans: &[Plan], filename: &str) -> String {
    let mut out = String::new();
    let name: String = filename.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let _ = writeln!(out, "# Written by `cgwd import` from {name}.");
    out.push_str(
        "# It holds pre-shared keys: keep it at mode 0600.\n\
         # `cgwd check --explain` says what it does. Every other key is shown in cgwd.example.toml.\n",
    );
    for plan in plans {
        connection(&mut out, plan);
    }
    out
}

fn connection(out: &mut String, plan: &Plan) {
    out.push_str("\n[[connection]]\n");
    let _ = writeln!(out, "id = {}", quote(&plan.id));
    match plan.routing {
        PlanRouting::Static => out.push_str("routing = \"static\"\n"),
        PlanRouting::Bgp { .. } => out.push_str("routing = \"bgp\"\n"),
    }
    if plan.lan.is_empty() {
        out.push_str("# lan = [\"10.10.0.0/16\"]  # the networks on this side: not known yet\n");
    } else {
        line(out, "lan", &list(&plan.lan), lan_remark(plan));
    }
    if plan.vpc.is_empty() {
        out.push_str("# vpc = [\"10.0.0.0/16\"]  # take only what AWS announces inside these; every prefix without it\n");
    } else {
        line(out, "vpc", &list(&plan.vpc), vpc_remark(plan));
    }
    if plan.vpc.iter().any(|net| net.prefix_len() == 0) {
        line(out, "allow_default_route", "true", "asked for with --vpc");
    }
    if let PlanRouting::Bgp { local_asn, remote_asn, hold_time } = plan.routing {
        out.push_str("\n[connection.bgp]\n");
        line(out, "local_asn", &local_asn.to_string(), "ours");
        line(out, "remote_asn", &remote_asn.to_string(), "AWS's");
        let _ = writeln!(out, "hold_time = {hold_time}");
        if plan.transit {
            line(out, "max_advertised", &TRANSIT_ADVERTISED.to_string(), "a transit gateway takes as many");
        }
    }
    for tunnel in &plan.tunnels {
        write_tunnel(out, plan, tunnel);
    }
}

fn lan_remark(plan: &Plan) -> &'static str {
    match plan.routing {
        PlanRouting::Static => "our side; AWS needs the same as static routes of the connection",
        PlanRouting::Bgp { .. } => "our side: announced to AWS",
    }
}

fn vpc_remark(plan: &Plan) -> &'static str {
    match plan.routing {
        PlanRouting::Static => "behind AWS: routed into the tunnels",
        PlanRouting::Bgp { .. } => "behind AWS: only announcements inside these are taken",
    }
}

fn write_tunnel(out: &mut String, plan: &Plan, tunnel: &PlanTunnel) {
    out.push_str("\n[[connection.tunnel]]\n");
    let _ = writeln!(out, "name = {}", quote(&tunnel.name));
    line(out, "outside", &quote(&tunnel.outside.to_string()), "AWS's");
    let remark = "ours, as AWS has it; behind NAT, the NAT's public address";
    if let Some(gateway) = tunnel.customer_gateway {
        line(out, "customer_gateway", &quote(&gateway.to_string()), remark);
    }
    for (ours, aws) in &tunnel.inside {
        let key = if aws.is_ipv4() { "inside" } else { "inside_ipv6" };
        line(out, key, &quote(&ours.to_string()), &format!("AWS is {aws}"));
    }
    if tunnel.inside.is_empty() {
        out.push_str(
            "# inside = \"169.254.10.2/30\"  # not in the input; without it the tunnel cannot be probed\n",
        );
    }
    match &tunnel.key {
        PlanKey::Inline(key) => {
            let _ = writeln!(out, "psk = {}", quote(key));
        }
        PlanKey::Credential { name } => {
            let remark = format!("LoadCredential={name}:/etc/cgwd/{name}");
            line(out, "psk_credential", &quote(name), &remark);
        }
        PlanKey::Certificates { stem } => {
            line(out, "certificate", &quote(&format!("{stem}.pem")), "ours, then the intermediates");
            line(out, "private_key", &quote(&format!("{stem}.key")), "mode 0600");
            line(out, "ca", &quote(&format!("{stem}-ca.pem")), "the root above the private CA");
        }
    }
    if plan.raw_esp {
        line(out, "encapsulation", "\"auto\"", "IP protocol 50 where no NAT is found");
    }
    if !plan.local_cidr.is_empty() {
        line(out, "local_cidr", &list(&plan.local_cidr), "local network CIDR of the connection at AWS");
    }
    if !plan.remote_cidr.is_empty() {
        line(out, "remote_cidr", &list(&plan.remote_cidr), "remote network CIDR of the connection at AWS");
    }
    if let Some(timeout) = tunnel.dpd_timeout {
        let _ = writeln!(out, "dpd_timeout = {timeout}");
    }
    if let Some(margin) = tunnel.rekey_margin {
        let _ = writeln!(out, "rekey_margin = {margin}");
    }
    out.push_str("\n[connection.tunnel.ike]\n");
    offer(out, &tunnel.choice.ike, tunnel.known, true);
    if let Some(lifetime) = tunnel.ike_lifetime {
        let _ = writeln!(out, "lifetime = {lifetime}");
    }
    out.push_str("\n[connection.tunnel.esp]\n");
    offer(out, &tunnel.choice.esp, tunnel.known, false);
    if let Some(lifetime) = tunnel.esp_lifetime {
        let _ = writeln!(out, "lifetime = {lifetime}");
    }
    if let Some(window) = tunnel.replay_window {
        let _ = writeln!(out, "replay_window = {window}");
    }
}

fn offer(out: &mut String, offer: &Offer, known: bool, phase1: bool) {
    if !offer.weak.is_empty() {
        let _ = writeln!(out, "# WEAK: AWS allows nothing better than {} here.", offer.weak.join(" and "));
    } else if known {
        out.push_str(
            "# The best that the tunnel options at AWS allow; AWS would take the lowest of several.\n",
        );
    } else {
        out.push_str(
            "# AWS allows these unless the tunnel options were narrowed; it takes the lowest of several.\n",
        );
    }
    let _ = writeln!(out, "encryption = [{}]", quote(offer.encryption.name()));
    // A GCM cipher has no hash beside it in phase 2.
    if phase1 || !offer.encryption.is_aead() {
        let _ = writeln!(out, "integrity = [{}]", quote(offer.integrity.name()));
    }
    let groups: Vec<String> = offer.groups.iter().map(ToString::to_string).collect();
    let _ = writeln!(out, "dh_groups = [{}]", groups.join(", "));
}

/// `key = value  # remark`
fn line(out: &mut String, key: &str, value: &str, remark: &str) {
    let _ = writeln!(out, "{key} = {value}  # {remark}");
}

fn list<T: Display>(items: &[T]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| quote(&item.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

/// A basic string (TOML 1.0). AWS's values need no escapes; whatever else comes is kept out of the syntax.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quoted_text_comes_back_whatever_it_holds() {
        for text in ["plain", "q\"uo\\te", "line\nbreak\t\u{0}\u{7f}", "é\u{1f600}"] {
            let document = format!("a = {}", quote(text));
            let table: toml::Table = document.parse().unwrap();
            assert_eq!(table["a"].as_str(), Some(text));
        }
    }
}
