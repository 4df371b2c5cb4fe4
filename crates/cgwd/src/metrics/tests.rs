use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::api::{self, Connection, Redundancy, fixtures};

fn whole(name: &str) -> Tunnel {
    Tunnel {
        stage: Stage::Up,
        egress: true,
        ike: Some(fixtures::ike()),
        child: Some(fixtures::child()),
        probe: Some(api::Probe { rtt_ms: Some(1.2), loss_ratio: 0.25, sent: 4, received: 3 }),
        bgp: Some(fixtures::bgp()),
        certificate: Some(api::Certificate {
            subject: "CN=gw".to_owned(),
            expires_in_seconds: 100_000,
            first_end_in_seconds: 90_000,
            peer_subject: Some("CN=vpn-1.endpoint-0".to_owned()),
            peer_expires_in_seconds: Some(80_000),
        }),
        ..fixtures::tunnel(name)
    }
}

/// A BGP connection with one tunnel up and one down; every family has a sample.
fn snapshot() -> Snapshot {
    let connection = |id: &str, routing: &str, tunnels| Connection {
        id: id.to_owned(),
        routing: routing.to_owned(),
        tunnels,
    };
    let mut snapshot = Snapshot::of(Status {
        schema: 1,
        version: "0.1.0".to_owned(),
        uptime_seconds: 12.5,
        redundancy: Redundancy::Degraded,
        connections: vec![
            connection("vpn-1", "bgp", vec![whole("tunnel1"), fixtures::tunnel("tunnel2")]),
            connection("vpn-\"2\"", "static", vec![fixtures::tunnel("tunnel1")]),
        ],
    });
    for figures in &mut snapshot.tunnels {
        figures.last_rekey_seconds = Some(5.0);
        figures.prefix_limits = Some((1_000, 100));
        figures.figures.rtt.counts = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3];
        figures.figures.rtt.sum = 6.5;
    }
    snapshot.failovers[0].last = Some(std::time::Duration::from_millis(2_900));
    snapshot
}

/// The samples of a page: name, labels, value. Fails on what OpenMetrics 1.0 forbids.
fn parse(page: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    assert!(page.ends_with("# EOF\n") && page.matches("# EOF").count() == 1);
    let (mut families, mut current) = (BTreeSet::new(), (String::new(), String::new()));
    let (mut samples, mut series) = (Vec::new(), BTreeSet::new());
    for line in page.lines().filter(|line| *line != "# EOF") {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["#", "TYPE", name, kind] => {
                assert!(families.insert((*name).to_owned()), "{name} is one family");
                current = ((*name).to_owned(), (*kind).to_owned());
            }
            ["#", "UNIT", name, unit] => {
                assert!(*name == current.0 && name.ends_with(&format!("_{unit}")), "{line}");
            }
            ["#", "HELP", name, ..] => assert_eq!(*name, current.0),
            _ => {
                assert!(series.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "a series twice: {line}");
                samples.push(sample(line, &current));
            }
        }
    }
    samples
}

fn sample(line: &str, (family, kind): &(String, String)) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let (name, labels) =
        series.split_once('{').map_or((series, ""), |(name, rest)| (name, &rest[..rest.len() - 1]));
    let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
    let fits = match kind.as_str() {
        "counter" => suffix == "_total",
        "info" => suffix == "_info",
        "histogram" => ["_bucket", "_count", "_sum"].contains(&suffix),
        _ => suffix.is_empty(),
    };
    assert!(fits, "{line} is no sample of a {kind}");
    assert!(kind != "counter" || value >= 0.0, "{line}");
    let labels = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        (key.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}

#[test]
fn the_page_keeps_to_openmetrics() {
    let samples = parse(&render(&snapshot()));
    assert!(samples.len() > 100, "{}", samples.len());
}

#[test]
fn a_tunnel_that_is_down_has_every_counter_and_says_that_it_is_down() {
    let samples = parse(&render(&snapshot()));
    let of = |tunnel: &str| -> BTreeMap<String, f64> {
        let mine = samples.iter().filter(|(_, labels, _)| {
            labels.get("connection").is_some_and(|id| id == "vpn-1")
                && labels.get("tunnel").is_some_and(|name| name == tunnel)
        });
        mine.map(|(name, _, value)| (name.clone(), *value)).collect()
    };
    let (up, down) = (of("tunnel1"), of("tunnel2"));
    assert_eq!((up["cgwd_tunnel_up"], down["cgwd_tunnel_up"]), (1.0, 0.0));
    assert_eq!((up["cgwd_bgp_up"], down["cgwd_bgp_up"]), (1.0, 0.0));
    assert_eq!((up["cgwd_probe_loss_ratio"], down["cgwd_probe_loss_ratio"]), (0.25, 1.0));
    // What has no value while there is no SA is left out, and nothing else is.
    let gone: Vec<&str> = up.keys().filter(|name| !down.contains_key(*name)).map(String::as_str).collect();
    let expected = [
        "cgwd_certificate_expires_seconds",
        "cgwd_child_rekey_in_seconds",
        "cgwd_ike_rekey_in_seconds",
        "cgwd_peer_certificate_expires_seconds",
        "cgwd_probe_last_rtt_seconds",
        "cgwd_sa_expiry_seconds",
        "cgwd_tunnel_established_timestamp_seconds",
    ];
    assert_eq!(gone, expected);
}

#[test]
fn a_static_connection_has_no_bgp_series() {
    let samples = parse(&render(&snapshot()));
    let foreign = samples.iter().find(|(name, labels, _)| {
        name.starts_with("cgwd_bgp") && labels.get("connection").is_some_and(|id| id != "vpn-1")
    });
    assert_eq!(foreign, None);
}

#[test]
fn the_histogram_counts_upwards_and_ends_with_everything() {
    let samples = parse(&render(&snapshot()));
    let mine = |name: &str| -> Vec<(String, f64)> {
        let mine = samples.iter().filter(|(found, labels, _)| {
            found == name && labels["tunnel"] == "tunnel1" && labels["connection"] == "vpn-1"
        });
        mine.map(|(_, labels, value)| (labels.get("le").cloned().unwrap_or_default(), *value)).collect()
    };
    let buckets = mine("cgwd_probe_rtt_seconds_bucket");
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
    assert_eq!(buckets.first().unwrap(), &("0.001".to_owned(), 1.0));
    assert_eq!(buckets.last().unwrap(), &("+Inf".to_owned(), 6.0));
    assert_eq!(mine("cgwd_probe_rtt_seconds_count")[0].1, 6.0);
}

#[test]
fn names_with_quotes_are_escaped() {
    assert!(render(&snapshot()).contains("connection=\"vpn-\\\"2\\\"\""));
}

/// Every metric that a shipped file asks for.
fn asked_for(path: &str) -> BTreeSet<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let part_of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !part_of_a_name(c)).filter(|word| word.starts_with("cgwd_") && word.len() > 5);
    words.map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_rules_ask_only_for_what_is_there() {
    let page = render(&snapshot());
    let there: BTreeSet<String> = parse(&page).into_iter().map(|(name, _, _)| name).collect();
    for file in ["prometheus/cgwd.rules.yml", "prometheus/cgwd.rules.test.yml", "grafana/cgwd.json"] {
        let asked = asked_for(file);
        assert!(asked.len() > 5, "{file} asks for {asked:?}");
        let missing: Vec<&String> = asked.difference(&there).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}");
    }
}
