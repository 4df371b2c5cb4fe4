//! What an input says about a connection, before anything is decided.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::source::Source;
use crate::{Diagnostic, Report};

/// A value and where it stands in the file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One connection, as far as the input says.
pub(super) struct Draft {
    /// AWS's identifier.
    pub(super) id: Option<At<String>>,
    /// Where it begins in the file.
    pub(super) place: Range<usize>,
    pub(super) routing: DraftRouting,
    /// On a transit gateway or Cloud WAN, whose quotas are higher.
    pub(super) transit: bool,
    /// Accelerated VPN: NAT traversal is compulsory.
    pub(super) accelerated: bool,
    /// Our side of the traffic selectors when narrowed.
    pub(super) local_cidr: Vec<IpNet>,
    /// AWS's side of the traffic selectors when narrowed.
    pub(super) remote_cidr: Vec<IpNet>,
    /// Prefixes on our side that the input names (static routes at AWS).
    pub(super) lan: Vec<IpNet>,
    /// Prefixes behind AWS that the input names.
    pub(super) vpc: Vec<IpNet>,
    /// Whether tunnels are numbered by their outside address, because the input's order means nothing.
    pub(super) sort: bool,
    /// Whether the input may leave the inside addresses out.
    pub(super) inside_optional: bool,
    pub(super) tunnels: Vec<DraftTunnel>,
}

impl Draft {
    /// Nothing known yet but where it begins.
    pub(super) const fn new(place: Range<usize>) -> Self {
        Self {
            id: None,
            place,
            routing: DraftRouting::Static,
            transit: false,
            accelerated: false,
            local_cidr: Vec::new(),
            remote_cidr: Vec::new(),
            lan: Vec::new(),
            vpc: Vec::new(),
            sort: false,
            inside_optional: false,
            tunnels: Vec::new(),
        }
    }
}

/// Static, or what the input says about BGP.
#[derive(Default)]
pub(super) enum DraftRouting {
    #[default]
    Static,
    Bgp(DraftBgp),
}

/// AS numbers and hold time.
#[derive(Default, Clone)]
pub(super) struct DraftBgp {
    pub(super) local_asn: Option<At<u32>>,
    pub(super) remote_asn: Option<At<u32>>,
    pub(super) hold_time: Option<u64>,
}

/// One tunnel, as far as the input says.
#[derive(Default)]
pub(super) struct DraftTunnel {
    /// Where it begins in the file.
    pub(super) place: Range<usize>,
    pub(super) outside: Option<At<IpAddr>>,
    pub(super) customer_gateway: Option<At<IpAddr>>,
    /// Ours, with the prefix length.
    pub(super) inside: Vec<At<IpNet>>,
    /// AWS's; must fit ours.
    pub(super) aws_inside: Vec<At<IpAddr>>,
    pub(super) key: Option<At<Zeroizing<String>>>,
    /// Where AWS keeps the key when it does not hand it out.
    pub(super) key_arn: Option<String>,
    /// AWS names a certificate of its own for this tunnel.
    pub(super) by_certificate: bool,
    pub(super) bgp: Option<DraftBgp>,
    pub(super) options: Options,
    /// The input's wording names IKEv1.
    pub(super) says_ikev1: bool,
}

/// Tunnel options. `None` means that the input does not say.
#[derive(Default)]
pub(super) struct Options {
    /// Whether the real lists are known (`TunnelOptions` of the API); a list that is `None` then allows all.
    pub(super) known: bool,
    pub(super) phase1: Phase,
    pub(super) phase2: Phase,
    pub(super) ike_versions: Option<At<Vec<String>>>,
    pub(super) rekey_margin: Option<u64>,
    pub(super) replay_window: Option<u64>,
    pub(super) dpd_timeout: Option<u64>,
}

/// Options of one phase.
#[derive(Default)]
pub(super) struct Phase {
    pub(super) encryption: Option<At<Vec<String>>>,
    pub(super) integrity: Option<At<Vec<String>>>,
    pub(super) groups: Option<At<Vec<u16>>>,
    pub(super) lifetime: Option<u64>,
}

/// What every reader of a format is given.
pub(super) struct Context<'a> {
    pub(super) report: &'a mut Report,
    pub(super) notes: &'a mut Vec<String>,
}

impl Context<'_> {
    /// An error at a place of the file.
    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        code: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.report.push(Diagnostic::error(code, what, remedy).at(span, ""));
    }

    /// Parses `range` of `source`; `what` names the value when it cannot be.
    pub(super) fn parse<T: std::str::FromStr>(
        &mut self,
        source: &Source,
        range: Range<usize>,
        what: &str,
    ) -> Option<At<T>> {
        let span = source.outer(range.clone());
        let text = source.text().get(range).unwrap_or_default().trim();
        if let Ok(value) = text.parse() {
            return Some(At { value, span });
        }
        let shown: String = text.chars().take(40).collect();
        let message = match shown.is_empty() {
            true => format!("{what} is empty"),
            false => format!("{what} cannot be \"{shown}\""),
        };
        self.error(span, "IMP-VALUE", message, DOWNLOAD_AGAIN);
        None
    }
}

/// The remedy for a file that is damaged or incomplete.
pub(super) const DOWNLOAD_AGAIN: &str = "download the file again and import it unchanged, \
     or import the output of `aws ec2 describe-vpn-connections`";
