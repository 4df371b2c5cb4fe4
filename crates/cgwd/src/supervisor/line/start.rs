//! How a line starts: addresses, sockets, the data plane, the BGP session, the negotiator, in this order.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dataplane::{OffloadSwitches, ProbeAddresses, TunnelConfig};
use ike::certificate::WallClock;
use ike::{Credentials, Endpoint};
use model::{Instant, SecureRng};
use net::netlink::Netlink;
use routes::NextHop;
use tokio::sync::mpsc;
use tunnel::Tunnel;

use super::{Line, Running, START_RETRY, State};
use crate::catalog::Code;
use crate::supervisor::bgp::Session;
use crate::supervisor::inbox::{Incoming, plane_events};
use crate::supervisor::sockets::Sockets;
use crate::supervisor::{address, host};
use crate::translate;
use crate::translate::certificates::{Proof, unix_seconds};
use crate::translate::failure::Finding;
use crate::translate::ike_config::{PORT_NAT_T, ike_config};
use crate::tunnel::health::Reaction;

/// What a line needs of the supervisor to start.
pub(in crate::supervisor) struct Surroundings<'a> {
    pub(in crate::supervisor) netlink: &'a mut Netlink,
    /// The interfaces of all tunnels.
    pub(in crate::supervisor) tunnels: &'a [String],
    pub(in crate::supervisor) sockets: &'a mut Sockets,
    pub(in crate::supervisor) inbox: &'a mpsc::Sender<Incoming>,
    pub(in crate::supervisor) dropped: &'a Arc<AtomicU64>,
    /// Keys of SAs are wanted.
    pub(in crate::supervisor) expose_keys: bool,
}

impl Line {
    /// Starts what is not running, if it is time.
    pub(in crate::supervisor) fn start_if_due(
        &mut self,
        around: &mut Surroundings<'_>,
        now: Instant,
        out: &mut Vec<Reaction>,
    ) {
        match self.state {
            State::Waiting { retry_at } if retry_at <= now => {}
            _ => return,
        }
        match self.start(around, now) {
            Ok(running) => self.state = State::Running(Box::new(running)),
            Err(text) => {
                self.state = State::Waiting { retry_at: now + START_RETRY };
                out.extend(self.health.problem(Finding { code: Code::HostNotReady, text }, now));
            }
        }
    }

    fn start(&mut self, around: &mut Surroundings<'_>, now: Instant) -> Result<Running, String> {
        let local = address::local(around.netlink, &self.config, around.tunnels)?;
        let way = around.netlink.route_to(self.config.outside, None).ok();
        let way = way.filter(|route| !around.tunnels.contains(&route.interface));
        self.underlay =
            way.map(|route| NextHop { interface: route.interface, gateway: route.gateway, weight: 1 });
        around.sockets.open(local, around.inbox).map_err(|error| error.to_string())?;
        let probe = self.config.inside.first().map(|inside| ProbeAddresses {
            local: inside.ours.addr(),
            remote: inside.aws,
            identifier: net::OsRng.next_u32() as u16,
        });
        let events = plane_events(self.id, around.inbox.clone(), Arc::clone(around.dropped));
        let plane = dataplane::Tunnel::start(self.plane_config(local, probe), events)
            .map_err(|error| error.to_string())?;
        host::loosen_reverse_path(&self.config.interface);
        let bgp = translate::bgp::config(&self.connection, &self.config)
            .map(|config| Session::new(self.id, config, &self.config.interface, around.inbox, now))
            .transpose()?;
        let negotiator = ike_config(&self.config, local, self.proof_at(now));
        let endpoint = Endpoint::new(negotiator, Box::new(net::OsRng), now);
        let mut glue = Tunnel::new(endpoint, plane);
        if around.expose_keys {
            glue.expose_keys();
        }
        Ok(Running { local, glue, closed: false, bgp, probe, path_mtu: self.config.path_mtu, reset_at: None })
    }

    /// What it proves itself by, with what time it is now.
    fn proof_at(&self, now: Instant) -> Proof {
        let mut proof = self.proof.clone();
        if let Credentials::Certificates(certificates) = &mut proof.credentials {
            certificates.clock = WallClock { at: now, unix_seconds: unix_seconds() };
        }
        proof
    }

    fn plane_config(&self, local: IpAddr, probe: Option<ProbeAddresses>) -> TunnelConfig {
        let config = &self.config;
        TunnelConfig {
            name: config.name.clone(),
            interface: config.interface.clone(),
            mtu: self.mtu,
            inside: config.inside.iter().map(|inside| inside.ours).collect(),
            probe,
            local: (local, PORT_NAT_T).into(),
            remote: (config.outside, PORT_NAT_T).into(),
            clear_df: config.clear_df,
            clamp_mss: config.clamp_mss,
            replay_window: config.esp.replay_window,
            path_mtu: config.path_mtu,
            offload: OffloadSwitches {
                tun: config.offload.tun,
                udp_gso: config.offload.udp_send,
                udp_gro: config.offload.udp_receive,
            },
        }
    }
}
