//! The control plane's UDP sockets: 500 and 4500 on each local address.
//!
//! The tunnels' own connected sockets take most of what arrives on 4500; what comes here is IKE, and ESP from an
//! address that a tunnel's socket is not connected to (a NAT that rebound). Nothing is decided here but which of
//! the two it is (RFC 3948 §2.2).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ike::Transmit;
use net::udp::{UdpOptions, UdpSocket};
use tokio::sync::mpsc;

use super::inbox::Incoming;
use super::readiness::Readiness;
use crate::translate::ike_config::{PORT_IKE, PORT_NAT_T};

/// Room for the largest UDP datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Datagrams taken from one socket before others have a turn.
const BATCH_MAX: usize = 32;
/// In front of IKE on port 4500 (RFC 3948 §2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// A NAT keepalive's only octet (RFC 3948 §2.3).
const KEEPALIVE: [u8; 1] = [0xff];

/// All control sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: BTreeMap<SocketAddr, Arc<UdpSocket>>,
    readers: BTreeMap<SocketAddr, tokio::task::JoinHandle<()>>,
    dropped: Arc<AtomicU64>,
}

impl Sockets {
    /// Opens both ports on `local` if they are not open, and reads them into `inbox` from now on.
    ///
    /// # Errors
    /// The kernel's, naming the port.
    pub(super) fn open(&mut self, local: IpAddr, inbox: &mpsc::Sender<Incoming>) -> Result<(), net::Error> {
        for port in [PORT_IKE, PORT_NAT_T] {
            let address = SocketAddr::new(local, port);
            if self.open.contains_key(&address) {
                continue;
            }
            let socket = Arc::new(UdpSocket::bind(address, &UdpOptions::default())?);
            let ready = Readiness::of(socket.as_fd())
                .map_err(|error| net::Error::system(format!("watch UDP socket {address}"), error))?;
            let reader = read(Arc::clone(&socket), ready, inbox.clone(), Arc::clone(&self.dropped));
            self.readers.insert(address, tokio::spawn(reader));
            self.open.insert(address, socket);
        }
        Ok(())
    }

    /// Closes the sockets of addresses that are not in `needed`.
    pub(super) fn keep_only(&mut self, needed: &[IpAddr]) {
        self.readers.retain(|address, reader| {
            let keep = needed.contains(&address.ip());
            if !keep {
                reader.abort();
            }
            keep
        });
        self.open.retain(|address, _| needed.contains(&address.ip()));
    }

    /// Sends one datagram of the negotiator's.
    ///
    /// # Errors
    /// The kernel's; `AddrNotAvailable` when no socket has its local address.
    pub(super) fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let socket =
            self.open.get(&transmit.local).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let source = Some(transmit.local.ip());
        if transmit.non_esp_marker {
            let mut datagram = Vec::with_capacity(NON_ESP_MARKER.len() + transmit.payload.len());
            datagram.extend_from_slice(&NON_ESP_MARKER);
            datagram.extend_from_slice(&transmit.payload);
            socket.send_to(&datagram, source, transmit.remote)
        } else {
            socket.send_to(&transmit.payload, source, transmit.remote)
        }
    }

    /// Datagrams that found the inbox full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for reader in self.readers.values() {
            reader.abort();
        }
    }
}

async fn read(
    socket: Arc<UdpSocket>,
    ready: Readiness,
    inbox: mpsc::Sender<Incoming>,
    dropped: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while ready.wait().await.is_ok() {
        for _ in 0..BATCH_MAX {
            match ready.read(|| socket.receive_from(&mut buffer)) {
                Ok(datagram) => {
                    let octets = buffer.get(..datagram.len).unwrap_or_default();
                    let incoming = classify(datagram.local, datagram.remote, octets);
                    if incoming.is_some_and(|incoming| inbox.try_send(incoming).is_err()) {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error for something sent earlier; the next read works.
                Err(error) => {
                    tracing::debug!("UDP socket {}: {error}", socket.local());
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

fn classify(local: SocketAddr, remote: SocketAddr, octets: &[u8]) -> Option<Incoming> {
    if local.port() != PORT_NAT_T {
        return Some(Incoming::Ike { local, remote, message: octets.to_vec() });
    }
    if octets == KEEPALIVE {
        return None;
    }
    match octets.strip_prefix(&NON_ESP_MARKER) {
        Some(message) => Some(Incoming::Ike { local, remote, message: message.to_vec() }),
        None => Some(Incoming::Esp { local, remote, datagram: octets.to_vec() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_4500_carries_ike_esp_and_keepalives_side_by_side() {
        let remote = "198.51.100.1:4500".parse().unwrap();
        let at = |port: u16| SocketAddr::new("192.0.2.1".parse().unwrap(), port);
        let kind = |port, octets: &[u8]| match classify(at(port), remote, octets) {
            Some(Incoming::Ike { message, .. }) => format!("ike {}", message.len()),
            Some(Incoming::Esp { datagram, .. }) => format!("esp {}", datagram.len()),
            Some(other) => format!("{other:?}"),
            None => "nothing".to_owned(),
        };
        assert_eq!(kind(500, &[0; 28]), "ike 28");
        assert_eq!(kind(4500, &[0; 32]), "ike 28");
        assert_eq!(kind(4500, &[1, 2, 3, 4, 5]), "esp 5");
        assert_eq!(kind(4500, &[0xff]), "nothing");
    }
}
