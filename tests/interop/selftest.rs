//! The rig itself, proven with strongSwan on both ends before `cgwd` is put in its place.

use std::time::Duration;

use anyhow::Result;
use lab::strongswan::{Settings, StrongSwan};
use lab::topology::{GW_OUTSIDE, Side, VPC, VPC_HOST};
use lab::traffic::{self, Direction, Pinger, Server};

use crate::rig::Rig;

#[test]
fn the_lab_carries_lan_to_vpc_between_two_strongswans() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let aws = StrongSwan::start(lab, Side::One, Settings::aws(Side::One))?;
    let ours = Settings {
        local: GW_OUTSIDE,
        remote: Side::One.outside(),
        local_id: GW_OUTSIDE.to_string(),
        remote_id: Side::One.outside().to_string(),
        inside: "169.254.10.2/30".parse()?,
        routes: vec![VPC.to_owned()],
        ..Settings::aws(Side::One)
    };
    let gw = StrongSwan::start_in(&lab.gw, lab.scratch().join("strongswan-gw"), ours)?;
    gw.initiate()?;
    let _server = Server::vpc(lab)?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, Duration::from_secs(3))?;
    let pinger = Pinger::lan_to_vpc(lab)?;
    for direction in [Direction::Download, Direction::Upload] {
        let report = traffic::transfer(&lab.lan, VPC_HOST, direction, 10_000_000)?;
        println!("{direction:?} between two strongSwans: {:.0} Mbit/s", report.mbit_per_second());
    }
    let report = pinger.stop()?;
    println!("meanwhile {} of {} datagrams came back", report.received, report.sent);
    let sa = aws.sa()?;
    assert_eq!(sa.children.len(), 1, "{sa:?}");
    assert!(sa.children[0].packets_in > 0, "the traffic went through the tunnel");
    println!("negotiated {} and {}", sa.proposal, sa.children[0].proposal);
    Ok(())
}
