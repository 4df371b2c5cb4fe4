//! What follows from packets of the doctor's own.

use super::support::{OUTSIDE, first, found, healthy, never_started, quiet, toml};
use crate::doctor::measure::{End, Forward, Hop, Mtu, Outside, Path, Refusal};
use crate::doctor::{Facts, examine};

fn with_mtu(mtu: Mtu) -> Facts {
    let mut facts = healthy("static");
    facts.measured.mtu.insert(OUTSIDE[0].parse().unwrap(), mtu);
    facts
}

const SOUND: Mtu = Mtu { promised: 1438, passes: 1438, lowered_from: None, outside: Outside::Unknown };

fn complete() -> Path {
    Path {
        target: "172.31.0.10".parse().unwrap(),
        port: None,
        route: Ok("cgw0".to_owned()),
        tunnel: Some(OUTSIDE[0].parse().unwrap()),
        source: Some("10.10.0.1".parse().unwrap()),
        from_lan: true,
        forward: Some(Forward {
            from: "10.10.0.2".parse().unwrap(),
            arrives: "lan0".to_owned(),
            leaves: Ok("cgw0".to_owned()),
        }),
        inside: None,
        inside_from_lan: None,
        hops: vec![Hop { ttl: 1, from: Some("172.31.0.10".parse().unwrap()), rtt_ms: 1.0 }],
        end: End::Answered { tcp: false, rtt_ms: Some(1.0) },
        mtu: Some((1438, 1438)),
    }
}

fn with_path(change: impl FnOnce(&mut Path)) -> Facts {
    let mut facts = healthy("static");
    let mut path = complete();
    change(&mut path);
    facts.measured.path = Some(path);
    facts
}

#[test]
fn symptom_19_a_path_mtu_that_fits_what_passes_is_proposed() {
    quiet(&with_mtu(SOUND));
    for (passes, path_mtu) in [(1338, 1400), (1339, 1400), (1341, 1400), (1342, 1404), (1430, 1492)] {
        let finding = first(&with_mtu(Mtu { passes, ..SOUND }), "TUN-MTU");
        let remedy = format!("Set path_mtu = {path_mtu} for tunnel1. ");
        assert!(finding.remedy.starts_with(&remedy), "{passes}: {}", finding.remedy);
    }
    // With CBC several path MTUs lead to the same inner one; the least is surely not too large.
    let esp = "\n[connection.tunnel.esp]\nencryption = [\"AES256\"]\nintegrity = [\"SHA2-256\"]\n";
    let mut facts = with_mtu(Mtu { promised: 1422, passes: 1330, ..SOUND });
    facts = facts.with_config(&toml("static", "").replacen(
        "psk = \"lab_Psk.Tunnel1\"\n",
        &format!("psk = \"lab_Psk.Tunnel1\"\n{esp}"),
        1,
    ));
    facts.tunnel_mut(0).mtu = 1422;
    assert!(
        first(&facts, "TUN-MTU").remedy.starts_with("Set path_mtu = 1396 for tunnel1"),
        "{:?}",
        examine(&facts)
    );
}

#[test]
fn symptom_19_who_is_too_narrow_is_told_as_far_as_it_was_measured() {
    let with = |outside| first(&with_mtu(Mtu { passes: 1338, outside, ..SOUND }), "TUN-MTU").cause;
    assert!(with(Outside::Narrow(1400)).contains("at most 1400 octets"));
    assert!(with(Outside::Wide).contains("the way is wide enough"));
    assert!(!with(Outside::Unknown).contains("outside the tunnel"));
    let lowered = Mtu { promised: 1338, passes: 1338, lowered_from: Some(1438), ..SOUND };
    found(&with_mtu(lowered), "TUN-MTU-LOWERED");
    quiet(&with_mtu(lowered));
    first(&with_path(|path| path.mtu = Some((1438, 1200))), "PATH-MTU");
}

#[test]
fn symptoms_17_and_20_the_end_of_a_way_decides_what_is_named() {
    quiet(&with_path(|_| {}));
    found(&with_path(|_| {}), "PATH-COMPLETE");
    let silent = |path: &mut Path| {
        path.end = End::Silent;
        path.hops.clear();
        path.inside = Some(true);
        path.inside_from_lan = Some(true);
    };
    let behind = first(&with_path(silent), "PATH-BEHIND-AWS");
    assert!(behind.remedy.contains("describe-security-groups") && behind.cause.contains("no router"));
    let facts = with_path(|path| {
        silent(path);
        path.inside_from_lan = Some(false);
    });
    first(&facts, "PATH-NO-WAY-BACK");
    // A router behind AWS that answers the LAN shows that there is a way back.
    let facts = with_path(|path| {
        silent(path);
        path.inside_from_lan = Some(false);
        path.hops = vec![Hop { ttl: 1, from: Some("10.255.1.1".parse().unwrap()), rtt_ms: 1.0 }];
    });
    assert!(first(&facts, "PATH-BEHIND-AWS").cause.contains("1 10.255.1.1 1.0 ms"));
    let facts = with_path(|path| {
        silent(path);
        path.inside = Some(false);
    });
    assert_eq!(first(&facts, "PATH-IN-TUNNEL").tunnel.as_deref(), Some("tunnel1"));
    let refused = End::Refused { from: "10.255.1.1".parse().unwrap(), why: "host unreachable" };
    assert!(first(&with_path(|path| path.end = refused), "PATH-REFUSED").cause.contains("10.255.1.1 says"));
    // It answers echo requests, and not the port that was asked for.
    first(&with_path(|path| path.port = Some(443)), "PATH-BEHIND-AWS");
    quiet(&with_path(|path| {
        path.port = Some(443);
        path.end = End::Answered { tcp: true, rtt_ms: None };
    }));
}

#[test]
fn symptom_17_a_way_that_ends_before_the_tunnel_is_told_with_the_kernels_words() {
    let facts = with_path(|path| {
        path.route = Ok("wan0".to_owned());
        (path.tunnel, path.forward, path.end) = (None, None, End::NotSent);
    });
    assert!(first(&facts, "PATH-NOT-ROUTED").cause.contains("leaves over wan0"));
    let refused = |refusal: Refusal| {
        with_path(|path| {
            if let Some(forward) = &mut path.forward {
                forward.leaves = Err(refusal);
            }
        })
    };
    assert!(first(&refused(Refusal::Off), "PATH-NOT-FORWARDED").remedy.contains("net.ipv4.ip_forward=1"));
    let remedy = first(&refused(Refusal::ReversePath), "PATH-NOT-FORWARDED").remedy;
    assert!(remedy.contains("net.ipv4.conf.lan0.rp_filter=2"), "{remedy}");
    // Without a daemon there is no tunnel, and that is the cause.
    let mut facts = never_started();
    facts.measured.path = with_path(|path| {
        path.route = Ok("wan0".to_owned());
        (path.tunnel, path.forward, path.end) = (None, None, End::NotSent);
    })
    .measured
    .path;
    first(&facts, "HOST-NO-DAEMON");
    assert_eq!(found(&facts, "PATH-NOT-ROUTED").because_of.as_deref(), Some("HOST-NO-DAEMON"));
    // The machine as a whole does not forward: one cause.
    let mut facts = refused(Refusal::Off);
    facts.host_mut().forwarding_v4 = Some(false);
    assert_eq!(found(&facts, "PATH-NOT-FORWARDED").because_of.as_deref(), Some("HOST-FORWARDING-OFF"));
    let facts = with_path(|path| {
        if let Some(forward) = &mut path.forward {
            forward.leaves = Ok("wan0".to_owned());
        }
    });
    assert!(first(&facts, "PATH-NOT-FORWARDED").remedy.contains("ip rule"));
}

#[test]
fn a_tunnel_that_is_nearly_full_is_worth_knowing() {
    let with = |rate| {
        let mut facts = healthy("static");
        facts.measured.rate.insert(OUTSIDE[0].parse().unwrap(), rate);
        facts
    };
    assert!(found(&with(1_200_000_000), "TUN-RATE").cause.contains("1200 Mbit/s"));
    quiet(&with(1_200_000_000));
    assert!(!examine(&with(700_000_000)).findings.iter().any(|finding| finding.code == "TUN-RATE"));
}
