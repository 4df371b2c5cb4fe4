//! What a reload would do, tunnel by tunnel, in words. Pure.

use std::fmt::Write as _;

use config::{Config, Tunnel};

/// What becomes of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It keeps its SAs.
    Untouched,
    /// It keeps its SAs; what is around it changes.
    Adjusted(Vec<&'static str>),
    /// It is negotiated anew, because of these settings.
    Changed(Vec<&'static str>),
    /// It is new.
    Added,
    /// It goes.
    Removed,
}

/// The fate of every tunnel by its full name, and what concerns the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) tunnels: Vec<(String, Fate)>,
    pub(super) daemon: Vec<String>,
}

impl Plan {
    /// One line.
    pub(super) fn summary(&self) -> String {
        let count = |what: fn(&Fate) -> bool| self.tunnels.iter().filter(|(_, fate)| what(fate)).count();
        format!(
            "{} tunnels untouched, {} changed, {} added, {} removed",
            count(|fate| matches!(fate, Fate::Untouched | Fate::Adjusted(_))),
            count(|fate| matches!(fate, Fate::Changed(_))),
            count(|fate| *fate == Fate::Added),
            count(|fate| *fate == Fate::Removed),
        )
    }

    /// A line for each tunnel and each setting of the daemon, and the summary.
    pub(super) fn text(&self) -> String {
        let width = self.tunnels.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, fate) in &self.tunnels {
            let fate = match fate {
                Fate::Untouched => "untouched".to_owned(),
                Fate::Adjusted(what) => format!("keeps its SAs; changed around it: {}", what.join(", ")),
                Fate::Changed(what) => format!("negotiated anew, because of {}", what.join(", ")),
                Fate::Added => "added".to_owned(),
                Fate::Removed => "removed".to_owned(),
            };
            let _ = writeln!(text, "{name:<width$}  {fate}");
        }
        for line in &self.daemon {
            let _ = writeln!(text, "{line}");
        }
        text + &self.summary()
    }
}

/// The settings in which two versions of a tunnel differ, by their names in the file.
pub(super) fn differences(before: &Tunnel, after: &Tunnel) -> Vec<&'static str> {
    let all = [
        ("interface", before.interface != after.interface),
        ("outside", before.outside != after.outside),
        ("customer_gateway", before.customer_gateway != after.customer_gateway),
        ("bind", before.bind != after.bind),
        ("inside", before.inside != after.inside),
        ("psk", before.psk() != after.psk()),
        ("certificate and its files", before.certificates() != after.certificates()),
        ("ppk", before.ppk != after.ppk),
        ("local_id", before.local_id != after.local_id),
        ("remote_id", before.remote_id != after.remote_id),
        ("ike", before.ike != after.ike),
        ("esp", before.esp != after.esp),
        ("rekey_margin", before.rekey_margin != after.rekey_margin),
        ("dpd_timeout", before.dpd_timeout != after.dpd_timeout),
        ("startup", before.startup != after.startup),
        ("encapsulation", before.encapsulation != after.encapsulation),
        ("path_mtu", before.path_mtu != after.path_mtu),
        ("clear_df", before.clear_df != after.clear_df),
        ("clamp_mss", before.clamp_mss != after.clamp_mss),
        ("local_cidr", before.ts_local != after.ts_local),
        ("remote_cidr", before.ts_remote != after.ts_remote),
        ("offload", before.offload != after.offload),
        ("probe", before.probe != after.probe),
        ("local_preference, bgp_med or bgp_prepend", before.preference != after.preference),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// The settings around its tunnels in which two versions of a connection differ.
pub(super) fn around(before: &config::Connection, after: &config::Connection) -> Vec<&'static str> {
    let all = [
        ("peer", before.peer != after.peer),
        ("routing, vpc or bgp", before.routing != after.routing),
        ("lan", before.lan != after.lan),
        ("allow_default_route", before.allow_default_route != after.allow_default_route),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// What changes for the daemon as a whole, and what has to wait for its next start.
pub(super) fn daemon(before: &Config, after: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, differs) in [
        ("routes", before.routes != after.routes),
        ("host", before.host != after.host),
        ("hook", before.hooks != after.hooks),
    ] {
        if differs {
            lines.push(format!("[{name}] changed: takes effect now"));
        }
    }
    for (name, differs) in [
        ("control", before.control != after.control),
        ("metrics", before.metrics != after.metrics),
        ("log", before.log != after.log),
    ] {
        if differs {
            lines.push(format!("[{name}] changed: takes effect at the next start of the daemon"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[connection]]\nid = \"vpn-1\"\nrouting = \"static\"\nlan = [\"10.10.0.0/16\"]\nvpc = [\"10.0.0.0/16\"]\n\
        [[connection.tunnel]]\noutside = \"198.51.100.1\"\ncustomer_gateway = \"192.0.2.1\"\ninside = \"169.254.10.2/30\"\npsk = \"lab_Psk.Tunnel1\"\n";

    fn parse(text: &str) -> Config {
        config::parse(text, "x.toml").unwrap().config
    }

    #[test]
    fn the_settings_that_differ_are_named() {
        let before = parse(FILE);
        let after = parse(
            &FILE
                .replace("lab_Psk.Tunnel1", "lab_Psk.Tunnel9")
                .replace("[[connection.tunnel]]", "[[connection.tunnel]]\npath_mtu = 1400"),
        );
        let tunnel = |config: &Config| config.tunnels().next().unwrap().1.clone();
        assert_eq!(differences(&tunnel(&before), &tunnel(&after)), ["psk", "path_mtu"]);
        assert!(differences(&tunnel(&before), &tunnel(&before)).is_empty());
        let after = parse(
            &(FILE.replace("10.10.0.0/16", "10.11.0.0/16")
                + "[log]\nlevel = \"debug\"\n[routes]\nmetric = 7\n"),
        );
        assert_eq!(around(&before.connections[0], &after.connections[0]), ["lan"]);
        assert_eq!(
            daemon(&before, &after),
            [
                "[routes] changed: takes effect now",
                "[log] changed: takes effect at the next start of the daemon"
            ]
        );
    }

    #[test]
    fn a_plan_reads_as_a_table_with_a_summary() {
        let plan = Plan {
            tunnels: vec![
                ("vpn-1/tunnel1".to_owned(), Fate::Untouched),
                ("vpn-22/tunnel1".to_owned(), Fate::Changed(vec!["psk", "esp"])),
                ("vpn-3/tunnel1".to_owned(), Fate::Removed),
            ],
            daemon: Vec::new(),
        };
        assert_eq!(
            plan.text(),
            "vpn-1/tunnel1   untouched\nvpn-22/tunnel1  negotiated anew, because of psk, esp\n\
             vpn-3/tunnel1   removed\n1 tunnels untouched, 1 changed, 0 added, 1 removed"
        );
    }
}
