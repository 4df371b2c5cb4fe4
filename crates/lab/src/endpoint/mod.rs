//! The embedded stand-in for AWS: one tunnel endpoint that behaves as AWS documents itself.
//!
//! It waits for the customer (or starts, with the startup action `start`), takes the lowest algorithm that both
//! sides allow whatever the customer's order, keeps one SA pair, rekeys in its margin with fuzz, asks for a sign
//! of life only when nothing was heard, and sits in the foreground of the namespace it was started in. It stands
//! on the same `ike`, `dataplane` and `tunnel` crates as the daemon, so it proves nothing about them: the
//! interoperability suite does that, against strongSwan.

mod algorithms;
mod bgp;
mod mailbox;
mod run;

pub use algorithms::{Allowed, Encryption, Hash};
pub use bgp::BgpOptions;
pub use run::run;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ike::{Config, Lifetime, Liveness, Ppk, Retransmit, Selection, Startup};
use ipnet::IpNet;
use model::{Secret, TrafficSelector};

/// What AWS would know about one tunnel.
#[derive(Clone, Debug)]
pub struct Options {
    /// The endpoint's outside address.
    pub local: IpAddr,
    /// The customer gateway's outside address.
    pub peer: IpAddr,
    /// The pre-shared key.
    pub psk: Secret,
    /// The inside address of AWS's side with its prefix; given as the network, its first host is taken.
    pub inside: IpNet,
    /// The TUN interface to make.
    pub interface: String,
    /// What lies behind the customer: sent into the tunnel.
    pub routes: Vec<IpNet>,
    /// Whether to begin by itself (startup action `start`).
    pub start: bool,
    /// What may be negotiated in phase 1.
    pub phase1: Allowed,
    /// What may be negotiated in phase 2.
    pub phase2: Allowed,
    /// Phase 1 and phase 2 lifetimes.
    pub lifetimes: [Duration; 2],
    /// Rekeying begins at the latest this long before a lifetime's end...
    pub rekey_margin: Duration,
    /// ...and up to this share of the margin (in per cent) earlier.
    pub rekey_fuzz: u32,
    /// Replay window in packets.
    pub replay_window: u32,
    /// Key exchanges after the first in both phases (IANA numbers); AWS has none.
    pub additional: Vec<u16>,
    /// A post-quantum pre-shared key; AWS has none.
    pub ppk: Option<Ppk>,
    /// The BGP session of a dynamic connection.
    pub bgp: Option<BgpOptions>,
}

impl Options {
    /// The inside address that is AWS's own.
    ///
    /// # Errors
    /// When the network has no host to take.
    pub fn inside_address(&self) -> Result<IpNet> {
        if self.inside.addr() != self.inside.network() {
            return Ok(self.inside);
        }
        let host = self.inside.hosts().next().context("the inside network has no host address")?;
        Ok(IpNet::new(host, self.inside.prefix_len())?)
    }

    /// The negotiator's configuration.
    ///
    /// # Errors
    /// When the lifetimes leave no room for the margin.
    pub fn ike_config(&self) -> Result<Config> {
        let mut config = Config::new(self.local, self.peer, self.psk.clone());
        config.ike_proposals = self.phase1.ike_proposals();
        config.esp_proposals = self.phase2.esp_proposals();
        config.ppk.clone_from(&self.ppk);
        let additional: Vec<_> = self.additional.iter().copied().map(ike::wire::DhGroup).collect();
        config.ike_proposals.iter_mut().for_each(|ours| ours.additional.clone_from(&additional));
        config.esp_proposals.iter_mut().for_each(|ours| ours.additional.clone_from(&additional));
        // The outside and the inside may be of different families.
        let any =
            if self.inside.addr().is_ipv4() { TrafficSelector::any_v4() } else { TrafficSelector::any_v6() };
        (config.ts_local, config.ts_remote) = (vec![any], vec![any]);
        // Encapsulation follows what NAT detection finds; the customer can force it.
        config.force_udp_encapsulation = false;
        config.startup = if self.start { Startup::Initiate } else { Startup::Respond };
        config.selection = Selection::LowestValue;
        let [phase1, phase2] = self.lifetimes;
        config.ike_lifetime = self.lifetime(phase1)?;
        config.child_lifetime = self.lifetime(phase2)?;
        // Dead about 30 s after the first question that nobody answered.
        config.liveness = Liveness { idle: Duration::from_secs(10), ..Liveness::default() };
        config.retransmit =
            Retransmit { initial: Duration::from_secs(2), max: Duration::from_secs(10), tries: 4 };
        Ok(config)
    }

    fn lifetime(&self, total: Duration) -> Result<Lifetime> {
        let jitter = self.rekey_margin * self.rekey_fuzz / 100;
        let rekey_after = total.saturating_sub(self.rekey_margin);
        if jitter >= rekey_after {
            bail!(
                "a rekey margin of {:?} with {} % fuzz does not fit into {total:?}",
                self.rekey_margin,
                self.rekey_fuzz
            );
        }
        Ok(Lifetime { rekey_after, jitter, hard: total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            local: "198.51.100.1".parse().unwrap(),
            peer: "192.0.2.1".parse().unwrap(),
            psk: Secret::from(&b"lab_Psk.Tunnel1"[..]),
            inside: "169.254.10.0/30".parse().unwrap(),
            interface: "vti0".to_owned(),
            routes: Vec::new(),
            start: false,
            phase1: Allowed::phase1(),
            phase2: Allowed::phase2(),
            lifetimes: [Duration::from_secs(28_800), Duration::from_secs(3_600)],
            rekey_margin: Duration::from_secs(270),
            rekey_fuzz: 100,
            replay_window: 1024,
            additional: Vec::new(),
            ppk: None,
            bgp: None,
        }
    }

    #[test]
    fn aws_takes_the_first_host_of_the_inside_network() {
        assert_eq!(options().inside_address().unwrap().to_string(), "169.254.10.1/30");
        let named = Options { inside: "169.254.10.1/30".parse().unwrap(), ..options() };
        assert_eq!(named.inside_address().unwrap().to_string(), "169.254.10.1/30");
    }

    #[test]
    fn a_rekey_falls_between_twice_the_margin_and_the_margin_before_the_end() {
        let child = options().ike_config().unwrap().child_lifetime;
        assert_eq!(child.hard.as_secs(), 3600);
        assert_eq!(child.rekey_after.as_secs(), 3600 - 270);
        assert_eq!((child.rekey_after - child.jitter).as_secs(), 3600 - 540);
        let short = Options { lifetimes: [Duration::from_secs(900), Duration::from_secs(300)], ..options() };
        assert!(short.ike_config().is_err());
    }

    #[test]
    fn it_waits_for_the_customer_and_takes_the_lowest_value_unless_told_to_start() {
        let config = options().ike_config().unwrap();
        assert_eq!((config.startup, config.selection), (Startup::Respond, Selection::LowestValue));
        let start = Options { start: true, ..options() }.ike_config().unwrap();
        assert_eq!(start.startup, Startup::Initiate);
    }
}
