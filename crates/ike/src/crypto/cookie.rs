//! Stateless cookies for a responder under load (RFC 7296 §2.6).

use std::net::IpAddr;

use model::{IkeSpi, Secret, SecureRng};
use subtle::ConstantTimeEq;

use super::algorithm::Prf;

/// Octets of each secret.
const SECRET_LEN: usize = 32;

/// The responder's cookie secrets: the current one, and the one before it, so that a cookie given out just
/// before [`CookieSecrets::rotate`] is still honoured.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub struct CookieSecrets {
    version: u8,
    current: Secret,
    previous: Option<Secret>,
}

impl CookieSecrets {
    /// Draws the first secret.
    pub fn new(rng: &mut dyn SecureRng) -> Self {
        Self { version: 0, current: draw(rng), previous: None }
    }

    /// Replaces the secret; call it from time to time while cookies are being given out. Cookies older than
    /// two rotations are refused.
    pub fn rotate(&mut self, rng: &mut dyn SecureRng) {
        self.version = self.version.wrapping_add(1);
        self.previous = Some(std::mem::replace(&mut self.current, draw(rng)));
    }

    /// The cookie for an initiator: version | HMAC(secret, Ni | IPi | SPIi), 33 octets (§2.6 allows 1-64).
    pub fn make(&self, nonce: &[u8], initiator: IpAddr, spi_i: IkeSpi) -> Vec<u8> {
        cookie(self.version, &self.current, nonce, initiator, spi_i)
    }

    /// Whether `received` is a cookie that we gave to this initiator with this nonce and SPI.
    pub fn accepts(&self, received: &[u8], nonce: &[u8], initiator: IpAddr, spi_i: IkeSpi) -> bool {
        let secret = match received.first() {
            Some(version) if *version == self.version => Some(&self.current),
            Some(version) if *version == self.version.wrapping_sub(1) => self.previous.as_ref(),
            _ => None,
        };
        let Some(secret) = secret else { return false };
        let version = received.first().copied().unwrap_or_default();
        cookie(version, secret, nonce, initiator, spi_i).ct_eq(received).into()
    }
}

fn draw(rng: &mut dyn SecureRng) -> Secret {
    let mut bytes = vec![0; SECRET_LEN];
    rng.fill(&mut bytes);
    Secret::new(bytes)
}

fn cookie(version: u8, secret: &Secret, nonce: &[u8], initiator: IpAddr, spi_i: IkeSpi) -> Vec<u8> {
    let address = match initiator {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mac = Prf::HmacSha2_256.compute(secret.expose(), &[nonce, &address, &spi_i.to_bytes()]);
    let mut out = vec![version];
    out.extend_from_slice(mac.expose());
    out
}
