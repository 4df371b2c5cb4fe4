//! Netlink and TUN against the running kernel, each test in a network namespace of its own that ends with its thread.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use ipnet::IpNet;
use net::netlink::{
    Change, LinkChange, Monitor, Netlink, NextHop, Route, RouteFilter, RouteKind, Rule, TABLE_MAIN,
};
use net::tun::{Tun, TunOffloads};
use net::{Error, errno, poll};

/// Our protocol number in these tests; any that no other daemon has.
const PROTOCOL: u8 = 173;

/// Moves this thread into a new network namespace; `false` when that is not allowed.
fn isolated() -> bool {
    // SAFETY: unshare takes a plain integer; only this thread's view of the network changes, and nothing else in
    // the thread holds on to the old one.
    let able =
        unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 && std::path::Path::new("/dev/net/tun").exists();
    if !able {
        let required = std::env::var("CGWD_REQUIRE_NETNS").is_ok_and(|value| value == "1");
        assert!(!required, "CGWD_REQUIRE_NETNS=1, but this process may not make a network namespace");
        eprintln!("skipped: needs root and /dev/net/tun");
    }
    able
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A TUN that is up, with an IPv4 and an IPv6 address.
fn interface(netlink: &mut Netlink, name: &str, v4: &str, v6: &str) -> (Tun, u32) {
    let tun = Tun::create(name, true).unwrap();
    let index = netlink.link(name).unwrap().index;
    netlink.add_address(index, net(v4)).unwrap();
    netlink.add_address(index, net(v6)).unwrap();
    netlink.set_link(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    (tun, index)
}

#[test]
fn a_link_is_found_changed_and_gone_with_its_device() {
    if !isolated() {
        return;
    }
    let mut netlink = Netlink::open().unwrap();
    let tun = Tun::create("cgwx0", true).unwrap();
    let link = netlink.link("cgwx0").unwrap();
    assert_eq!((link.kind.as_deref(), link.up, link.loopback), (Some("tun"), false, false));
    let change = LinkChange { up: Some(true), mtu: Some(1438), txqueuelen: Some(10_000), carrier: None };
    netlink.set_link(link.index, &change).unwrap();
    let link = netlink.link("cgwx0").unwrap();
    assert_eq!((link.up, link.mtu, link.txqueuelen), (true, 1438, 10_000));
    assert!(netlink.links().unwrap().contains(&link));
    drop(tun);
    assert!(matches!(netlink.link("cgwx0"), Err(Error::NoInterface(name)) if name == "cgwx0"));
    let text = netlink.link("nosuch0").unwrap_err().to_string();
    assert_eq!(text, "there is no interface nosuch0 in this network namespace");
}

#[test]
fn a_name_in_use_is_refused_and_a_name_that_cannot_be_is_not_even_tried() {
    if !isolated() {
        return;
    }
    let _tun = Tun::create("cgwx0", false).unwrap();
    let text = Tun::create("cgwx0", false).unwrap_err().to_string();
    assert!(text.starts_with("cannot create TUN interface cgwx0: "), "{text}");
    for name in ["", "longer-than-15-octets", "a/b", "a\0b"] {
        assert!(matches!(Tun::create(name, false), Err(Error::Argument(_))), "{name:?}");
    }
}

#[test]
fn a_device_takes_offloads_and_does_not_block() {
    if !isolated() {
        return;
    }
    let tun = Tun::create("cgwx0", true).unwrap();
    tun.set_offloads(TunOffloads { tso: true, uso: false }).unwrap();
    tun.set_offloads(TunOffloads::default()).unwrap();
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.link("cgwx0").unwrap().index;
    // Without addresses of any kind nothing is sent on it.
    net::sysctl::write("net.ipv6.conf.cgwx0.disable_ipv6", "1").unwrap();
    netlink.set_link(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    assert_eq!(tun.read(&mut [0; 100]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn addresses_are_added_once_listed_and_removed_once() {
    if !isolated() {
        return;
    }
    let mut netlink = Netlink::open().unwrap();
    let (_tun, index) = interface(&mut netlink, "cgwx0", "169.254.10.2/30", "fd00::2/126");
    netlink.add_address(index, net("169.254.10.2/30")).unwrap();
    let listed: Vec<IpNet> = netlink
        .addresses(Some(index))
        .unwrap()
        .into_iter()
        .filter(|address| !address.dynamic)
        .map(|address| address.address)
        .collect();
    assert_eq!(listed, [net("169.254.10.2/30"), net("fd00::2/126")]);
    netlink.delete_address(index, net("169.254.10.2/30")).unwrap();
    netlink.delete_address(index, net("169.254.10.2/30")).unwrap();
    assert!(!netlink.addresses(None).unwrap().iter().any(|a| a.address == net("169.254.10.2/30")));
}

#[test]
fn routes_are_added_replaced_listed_and_removed_by_their_owner() {
    if !isolated() {
        return;
    }
    let mut netlink = Netlink::open().unwrap();
    let (_one, first) = interface(&mut netlink, "cgwx0", "169.254.10.2/30", "fd00::2/126");
    let (_two, second) = interface(&mut netlink, "cgwx1", "169.254.11.2/30", "fd00:1::2/126");
    let ours = RouteFilter { protocol: Some(PROTOCOL), ..RouteFilter::default() };
    for destination in ["10.20.0.0/16", "fd20::/64"] {
        let mut route = Route::through(net(destination), first, PROTOCOL);
        route.metric = 100;
        if route.destination.addr().is_ipv4() {
            route.source = Some(ip("169.254.10.2"));
        }
        netlink.add_route(&route).unwrap();
        assert_eq!(netlink.add_route(&route).unwrap_err().errno(), Some(errno::EEXIST));
        assert_eq!(netlink.routes(&ours).unwrap(), [route.clone()]);
        let mut moved = route.clone();
        moved.next_hops[0].index = second;
        moved.source = None;
        moved.mtu = Some(1400);
        netlink.replace_route(&moved).unwrap();
        assert_eq!(netlink.routes(&ours).unwrap(), [moved.clone()]);
        let by_device = |index| RouteFilter { index: Some(index), ..ours };
        assert_eq!(netlink.routes(&by_device(second)).unwrap().len(), 1);
        assert_eq!(netlink.routes(&by_device(first)).unwrap().len(), 0);
        netlink.delete_route(&moved).unwrap();
        netlink.delete_route(&moved).unwrap();
        assert_eq!(netlink.routes(&ours).unwrap(), []);
    }
}

#[test]
fn multipath_other_tables_and_routes_that_drop_survive_the_round_trip() {
    if !isolated() {
        return;
    }
    let mut netlink = Netlink::open().unwrap();
    let (_one, first) = interface(&mut netlink, "cgwx0", "169.254.10.2/30", "fd00::2/126");
    let (_two, second) = interface(&mut netlink, "cgwx1", "169.254.11.2/30", "fd00:1::2/126");
    let mut route = Route::through(net("10.20.0.0/16"), first, PROTOCOL);
    route.table = 1000;
    route.next_hops.push(NextHop { index: second, gateway: None, weight: 3 });
    netlink.add_route(&route).unwrap();
    let table = RouteFilter { table: Some(1000), ..RouteFilter::default() };
    assert_eq!(netlink.routes(&table).unwrap(), [route.clone()]);
    assert_eq!(netlink.routes(&RouteFilter { table: Some(1001), ..table }).unwrap(), []);
    let mut drop = Route::through(net("10.30.0.0/16"), first, PROTOCOL);
    drop.kind = RouteKind::Unreachable;
    drop.next_hops.clear();
    netlink.add_route(&drop).unwrap();
    let main = RouteFilter { table: Some(TABLE_MAIN), protocol: Some(PROTOCOL), ..RouteFilter::default() };
    assert_eq!(netlink.routes(&main).unwrap(), [drop.clone()]);
    let mut through = Route::through(net("10.40.0.0/16"), first, PROTOCOL);
    through.next_hops[0].gateway = Some(ip("169.254.10.1"));
    netlink.add_route(&through).unwrap();
    for route in [&route, &drop, &through] {
        netlink.delete_route(route).unwrap();
    }
    let ours = RouteFilter { protocol: Some(PROTOCOL), ..RouteFilter::default() };
    assert_eq!(netlink.routes(&ours).unwrap(), []);
}

#[test]
fn rules_are_added_listed_and_removed() {
    if !isolated() {
        return;
    }
    let mut netlink = Netlink::open().unwrap();
    let rule = Rule {
        ipv4: true,
        priority: 7000,
        table: 1000,
        from: Some(net("10.10.0.0/16")),
        to: None,
        mark: Some((0x42, 0xff)),
        iif: Some("lo".to_owned()),
        protocol: PROTOCOL,
    };
    netlink.add_rule(&rule).unwrap();
    assert!(netlink.rules().unwrap().contains(&rule));
    assert_eq!(netlink.add_rule(&rule).unwrap_err().errno(), Some(errno::EEXIST));
    netlink.delete_rule(&rule).unwrap();
    netlink.delete_rule(&rule).unwrap();
    assert!(!netlink.rules().unwrap().contains(&rule));
}

#[test]
fn the_kernel_says_how_it_would_reach_a_destination() {
    if !isolated() {
        return;
    }
    let mut netlink = Netlink::open().unwrap();
    let error = netlink.route_to(ip("203.0.113.1"), None).unwrap_err();
    assert_eq!(error.errno(), Some(errno::ENETUNREACH));
    assert!(error.to_string().starts_with("cannot look up the route to 203.0.113.1: "), "{error}");
    let (_tun, index) = interface(&mut netlink, "cgwx0", "192.0.2.1/24", "2001:db8::1/64");
    let mut route = Route::through(net("203.0.113.0/24"), index, PROTOCOL);
    route.next_hops[0].gateway = Some(ip("192.0.2.254"));
    route.mtu = Some(1400);
    netlink.add_route(&route).unwrap();
    let found = netlink.route_to(ip("203.0.113.1"), None).unwrap();
    assert_eq!((found.source, found.gateway), (Some(ip("192.0.2.1")), Some(ip("192.0.2.254"))));
    assert_eq!(
        (found.interface.as_str(), found.index, found.mtu, found.local),
        ("cgwx0", index, 1400, false)
    );
    let found = netlink.route_to(ip("2001:db8::9"), Some(ip("2001:db8::1"))).unwrap();
    assert_eq!((found.source, found.gateway, found.mtu), (Some(ip("2001:db8::1")), None, 1500));
}

#[test]
fn an_address_of_this_machine_is_told_apart_from_one_that_is_reached() {
    if !isolated() {
        return;
    }
    let mut netlink = Netlink::open().unwrap();
    let lo = netlink.link("lo").unwrap().index;
    netlink.set_link(lo, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    let (_tun, _) = interface(&mut netlink, "cgwx0", "192.0.2.1/24", "2001:db8::1/64");
    assert!(netlink.route_to(ip("192.0.2.1"), None).unwrap().local);
    assert!(!netlink.route_to(ip("192.0.2.2"), None).unwrap().local);
}

#[test]
fn the_monitor_tells_what_changed() {
    if !isolated() {
        return;
    }
    let mut monitor = Monitor::open().unwrap();
    assert_eq!(monitor.receive().unwrap(), []);
    let mut netlink = Netlink::open().unwrap();
    let (tun, index) = interface(&mut netlink, "cgwx0", "192.0.2.1/24", "2001:db8::1/64");
    let route = Route::through(net("10.20.0.0/16"), index, PROTOCOL);
    netlink.add_route(&route).unwrap();
    netlink.delete_route(&route).unwrap();
    drop(tun);
    let mut seen = Vec::new();
    while !seen.iter().any(|change| matches!(change, Change::LinkGone { name, .. } if name == "cgwx0")) {
        assert!(poll::wait(&[monitor.as_fd()], Some(Duration::from_secs(5))).unwrap().is(0), "{seen:?}");
        seen.extend(monitor.receive().unwrap());
    }
    let link_up = |change: &Change| matches!(change, Change::Link(link) if link.name == "cgwx0" && link.up);
    let address =
        |change: &Change| matches!(change, Change::Address(found) if found.address == net("192.0.2.1/24"));
    assert!(seen.iter().any(link_up));
    assert!(seen.iter().any(address));
    assert!(seen.contains(&Change::Route(route.clone())));
    assert!(seen.contains(&Change::RouteGone(route)));
    assert!(!seen.contains(&Change::Overrun));
}
