//! Our data plane without a negotiator, with keys that depend on nothing: for profiles and for the figures per core,
//! where nothing else may take part. Never for production.
//!
//! It is told `renew` (a new SA with the same keys, so that sealed packets can be replayed) and `stats` on standard
//! input.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail};
use dataplane::{Child, OffloadSwitches, Tunnel, TunnelConfig};
use ipnet::IpNet;
use model::{Encapsulation, EspKeys, EspSuite, EspTransform, KeyBits, Secret, Spi, TrafficSelector};
use serde::{Deserialize, Serialize};

use super::{answer, next_line};

/// Which of the two ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(in crate::bench) enum End {
    /// The gateway's.
    Gw,
    /// AWS's.
    Aws,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::Gw => Self::Aws,
            Self::Aws => Self::Gw,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Gw => 1,
            Self::Aws => 2,
        }
    }

    /// The SPI of packets to this end.
    pub(super) fn spi(self) -> Result<Spi> {
        match Spi::new(0x1000 + u32::from(self.number())) {
            Some(spi) => Ok(spi),
            None => bail!("a reserved SPI"),
        }
    }

    /// The keys of packets to this end.
    pub(super) fn keys(self) -> EspKeys {
        let len = SUITE.transform.encryption_key_len();
        EspKeys { encryption: Secret::new(vec![self.number(); len]), integrity: Secret::new(Vec::new()) }
    }
}

/// What every measurement uses.
pub(super) const SUITE: EspSuite = EspSuite { transform: EspTransform::AesGcm16(KeyBits::B256), esn: false };

/// Its addresses and its encapsulation.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Options {
    /// Our outside address and port.
    #[arg(long)]
    pub(super) local: SocketAddr,
    /// The other end's.
    #[arg(long)]
    pub(super) remote: SocketAddr,
    /// Which end this is.
    #[arg(long, value_enum)]
    pub(super) end: End,
    /// The TUN interface to make.
    #[arg(long, default_value = "cgw0")]
    pub(super) interface: String,
    /// Our inside address with its prefix.
    #[arg(long)]
    pub(super) inside: IpNet,
    /// Protocol 50 instead of UDP.
    #[arg(long)]
    pub(super) raw: bool,
}

/// What went through, in inner packets and octets.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Stats {
    pub(in crate::bench) rx_packets: u64,
    pub(in crate::bench) rx_bytes: u64,
    pub(in crate::bench) tx_packets: u64,
    pub(in crate::bench) tx_bytes: u64,
    pub(in crate::bench) drops: u64,
    pub(in crate::bench) tun_reads: u64,
    pub(in crate::bench) sends: u64,
    pub(in crate::bench) receives: u64,
    pub(in crate::bench) tun_writes: u64,
}

impl Stats {
    /// The calls and drops since an earlier snapshot.
    pub(in crate::bench) const fn calls_since(&self, earlier: &Self) -> Self {
        Self {
            drops: self.drops - earlier.drops,
            tun_reads: self.tun_reads - earlier.tun_reads,
            sends: self.sends - earlier.sends,
            receives: self.receives - earlier.receives,
            tun_writes: self.tun_writes - earlier.tun_writes,
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 0,
            tx_bytes: 0,
        }
    }

    /// The calls and drops of both.
    pub(in crate::bench) const fn plus(&self, other: &Self) -> Self {
        Self {
            drops: self.drops + other.drops,
            tun_reads: self.tun_reads + other.tun_reads,
            sends: self.sends + other.sends,
            receives: self.receives + other.receives,
            tun_writes: self.tun_writes + other.tun_writes,
            ..*self
        }
    }
}

/// Runs it until standard input ends.
pub(super) fn run(options: &Options) -> Result<()> {
    let encapsulation = if options.raw { Encapsulation::Esp } else { Encapsulation::Udp };
    let config = TunnelConfig {
        name: "plane".to_owned(),
        interface: options.interface.clone(),
        mtu: esp::inner_mtu(1500, options.local.is_ipv6(), encapsulation, SUITE.transform),
        inside: vec![options.inside],
        probe: None,
        local: options.local,
        remote: options.remote,
        clear_df: true,
        clamp_mss: true,
        replay_window: 1024,
        path_mtu: 1500,
        offload: OffloadSwitches::default(),
    };
    let tunnel = Tunnel::start(config, Arc::new(|_| {}))?;
    let mut id = 1;
    tunnel.install(child(options, encapsulation, id)?)?;
    answer(&"ready")?;
    while let Some(line) = next_line() {
        match line.as_str() {
            "renew" => {
                tunnel.retire(id);
                id += 1;
                tunnel.install(child(options, encapsulation, id)?)?;
                answer(&"renewed")?;
            }
            "stats" => answer(&stats(&tunnel))?,
            _ => bail!("renew, or stats; not {line:?}"),
        }
    }
    Ok(())
}

fn stats(tunnel: &Tunnel) -> Stats {
    let stats = tunnel.stats();
    Stats {
        rx_packets: stats.total.rx_packets,
        rx_bytes: stats.total.rx_bytes,
        tx_packets: stats.total.tx_packets,
        tx_bytes: stats.total.tx_bytes,
        drops: stats.drops.total(),
        tun_reads: stats.calls.tun_reads,
        sends: stats.calls.sends,
        receives: stats.calls.receives,
        tun_writes: stats.calls.tun_writes,
    }
}

fn child(options: &Options, encapsulation: Encapsulation, id: u64) -> Result<Child> {
    let (ours, theirs) = (options.end, options.end.other());
    Ok(Child {
        id,
        spi_in: ours.spi()?,
        spi_out: theirs.spi()?,
        suite: SUITE,
        keys_in: ours.keys(),
        keys_out: theirs.keys(),
        ts_local: vec![TrafficSelector::any_v4()],
        ts_remote: vec![TrafficSelector::any_v4()],
        local: options.local,
        remote: options.remote,
        encapsulation,
        activate_outbound: true,
    })
}
