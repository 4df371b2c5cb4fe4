//! What the daemon changes on the host beside routes and interfaces, and how it is put back.

use std::path::{Path, PathBuf};

use config::IpForward;

use crate::catalog::Code;
use crate::translate::failure::Finding;

const FORWARD_V4: &str = "net.ipv4.ip_forward";
const FORWARD_V6: &str = "net.ipv6.conf.all.forwarding";

/// The kernel parameters that may be changed.
const CHANGEABLE: [&str; 2] = [FORWARD_V4, FORWARD_V6];

/// Kernel parameters that were changed, with their values before. Kept in a file beside the control socket too, so
/// that a successor of a killed daemon still knows what to put back.
#[derive(Debug)]
pub(super) struct Changed {
    parameters: Vec<(&'static str, String)>,
    file: PathBuf,
}

impl Changed {
    /// Nothing, or what the predecessor left changed.
    pub(super) fn open(socket: &Path) -> Self {
        let file = socket.with_extension("restore");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let parameters = lines
            .filter_map(|(key, value)| {
                let key = CHANGEABLE.into_iter().find(|known| *known == key)?;
                Some((key, value.to_owned()))
            })
            .collect();
        Self { parameters, file }
    }

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
        if before != "0" {
            return None;
        }
        if what == IpForward::Report {
            let text = format!("{key} is 0: hosts on the LAN cannot reach AWS through this gateway");
            return Some(Finding { code: Code::ForwardingOff, text });
        }
        Some(match net::sysctl::write(key, "1") {
            Ok(()) => {
                if self.parameters.iter().all(|(known, _)| *known != key) {
                    self.parameters.push((key, before));
                    self.remember();
                }
                Finding { code: Code::ForwardingSet, text: format!("{key} was 0 and is 1 now") }
            }
            Err(error) => Finding { code: Code::ForwardingOff, text: error.to_string() },
        })
    }

    fn remember(&self) {
        let text: String = self.parameters.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        if let Err(error) = std::fs::write(&self.file, text) {
            tracing::warn!("{}: {error}; after a crash the changed parameters stay", self.file.display());
        }
    }

    /// Puts everything back.
    pub(super) fn restore(&mut self) {
        for (key, before) in self.parameters.drain(..) {
            if let Err(error) = net::sysctl::write(key, &before) {
                tracing::warn!("{error}; set it back by hand: sysctl -w {key}={before}");
            }
        }
        // There is none when nothing was changed.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Replies may arrive on the other tunnel than the one that requests left by: the reverse path check of our
/// interface must be loose. The kernel takes the larger of this and `all`, so a strict `all` is overruled.
pub(super) fn loosen_reverse_path(interface: &str) {
    // A dot in an interface's name is written as a slash in sysctl's notation.
    let key = format!("net.ipv4.conf.{}.rp_filter", interface.replace('.', "/"));
    let value = |key: &str| net::sysctl::read(key).unwrap_or_default();
    if value(&key) == "2" {
        return;
    }
    if let Err(error) = net::sysctl::write(&key, "2") {
        let strict = value(&key) == "1" || value("net.ipv4.conf.all.rp_filter") == "1";
        if strict {
            tracing::warn!(
                "{error}; replies that arrive on the other tunnel are dropped: install sysctl.d/60-cgwd.conf"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_knows_what_a_killed_daemon_changed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let mut killed = Changed::open(&socket);
        assert!(killed.parameters.is_empty());
        killed.parameters.push((FORWARD_V4, "0".to_owned()));
        killed.remember();
        let file = directory.path().join("control.restore");
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("kernel.core_pattern=|/tmp/evil\n");
        std::fs::write(&file, text).unwrap();
        assert_eq!(Changed::open(&socket).parameters, [(FORWARD_V4, "0".to_owned())]);
    }
}
