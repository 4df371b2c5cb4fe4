//! NAT detection hashes (RFC 7296 §2.23).

use std::net::{IpAddr, SocketAddr};

use model::IkeSpi;
use ring::digest;

/// SHA-1(SPIi | SPIr | address | port), the data of NAT_DETECTION_SOURCE_IP and
/// NAT_DETECTION_DESTINATION_IP. The SPIs are those in the header of the message that carries it.
pub fn nat_detection_hash(spi_i: IkeSpi, spi_r: IkeSpi, address: SocketAddr) -> [u8; 20] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&spi_i.to_bytes());
    context.update(&spi_r.to_bytes());
    match address.ip() {
        IpAddr::V4(ip) => context.update(&ip.octets()),
        IpAddr::V6(ip) => context.update(&ip.octets()),
    }
    context.update(&address.port().to_be_bytes());
    let mut out = [0; 20];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}
