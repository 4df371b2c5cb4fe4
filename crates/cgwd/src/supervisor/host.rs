//! What the daemon changes on the host beside routes and interfaces, and how it is put back.

use config::IpForward;

use crate::catalog::Code;
use crate::translate::failure::Finding;

const FORWARD_V4: &str = "net.ipv4.ip_forward";
const FORWARD_V6: &str = "net.ipv6.conf.all.forwarding";

/// Kernel parameters that were changed, with their values before.
#[derive(Debug, Default)]
pub(super) struct Changed {
    parameters: Vec<(&'static str, String)>,
}

impl Changed {
    /// Turns forwarding on where it is off, or reports it, for the families in use.
    pub(super) fn forwarding(&mut self, what: IpForward, ipv4: bool, ipv6: bool) -> Vec<Finding> {
        let families = [(FORWARD_V4, ipv4), (FORWARD_V6, ipv6)];
        let wanted = families.into_iter().filter(|(_, used)| *used);
        wanted.filter_map(|(key, _)| self.one_family(key, what)).collect()
    }

    fn one_family(&mut self, key: &'static str, what: IpForward) -> Option<Finding> {
        let before = match net::sysctl::read(key) {
            Ok(value) => value,
            Err(error) => return Some(Finding { code: Code::ForwardingOff, text: error.to_string() }),
        };
        if before != "0" || self.parameters.iter().any(|(known, _)| *known == key) {
            return None;
        }
        if what == IpForward::Report {
            let text = format!("{key} is 0: hosts on the LAN cannot reach AWS through this gateway");
            return Some(Finding { code: Code::ForwardingOff, text });
        }
        Some(match net::sysctl::write(key, "1") {
            Ok(()) => {
                self.parameters.push((key, before));
                Finding { code: Code::ForwardingSet, text: format!("{key} was 0 and is 1 now") }
            }
            Err(error) => Finding { code: Code::ForwardingOff, text: error.to_string() },
        })
    }

    /// Puts everything back.
    pub(super) fn restore(&mut self) {
        for (key, before) in self.parameters.drain(..) {
            if let Err(error) = net::sysctl::write(key, &before) {
                tracing::warn!("{error}; set it back by hand: sysctl -w {key}={before}");
            }
        }
    }
}

/// Replies may arrive on the other tunnel than the one that requests left by: the reverse path check of our
/// interface must be loose. The kernel takes the larger of this and `all`, so a strict `all` is overruled.
pub(super) fn loosen_reverse_path(interface: &str) {
    // A dot in an interface's name is written as a slash in sysctl's notation.
    let key = format!("net.ipv4.conf.{}.rp_filter", interface.replace('.', "/"));
    if let Err(error) = net::sysctl::write(&key, "2") {
        tracing::warn!("{error}; replies that arrive on the other tunnel may be dropped");
    }
}
