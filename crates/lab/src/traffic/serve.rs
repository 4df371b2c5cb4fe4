//! The other end of the measurements: a UDP echo and a TCP source and sink.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{ECHO_PORT, TRANSFER_PORT, transfer};

/// Serves for ever; says one line on standard output when every socket is bound.
///
/// # Errors
/// When an address cannot be bound.
pub fn run(addresses: &[IpAddr], ready: impl FnOnce()) -> Result<()> {
    let mut sockets = Vec::new();
    for &address in addresses {
        let udp = UdpSocket::bind(SocketAddr::new(address, ECHO_PORT))
            .with_context(|| format!("cannot listen on {address}"))?;
        let tcp = TcpListener::bind(SocketAddr::new(address, TRANSFER_PORT))?;
        sockets.push((udp, tcp));
    }
    ready();
    std::thread::scope(|scope| {
        for (udp, tcp) in &sockets {
            scope.spawn(|| echo(udp));
            scope.spawn(|| {
                for stream in tcp.incoming().flatten() {
                    // One failed transfer is the client's to report.
                    std::thread::spawn(move || transfer::serve(stream));
                }
            });
        }
    });
    Ok(())
}

fn echo(socket: &UdpSocket) {
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), from);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
