//! Certificates for simulated endpoints: fixed ones with RSA and PKCS #1, the one signature without randomness, so
//! that a seed brings forth the same octets each time.
#![allow(unreachable_pub, clippy::unwrap_used)]

use std::sync::{Arc, OnceLock};

use ike::certificate::{Certificates, Credential, Padding, Trust, WallClock};
use ike::{Config, Credentials};
use model::{Instant, Secret};

/// Certificates of the first and of the second endpoint.
static CERTIFICATES: OnceLock<[Certificates; 2]> = OnceLock::new();

fn read(chain: &[u8]) -> Certificates {
    let key = Secret::from(&include_bytes!("../vectors/keys/rsa2048.pem")[..]);
    Certificates {
        credential: Arc::new(Credential::read(chain, &key).unwrap()),
        trust: Arc::new(Trust::read(include_bytes!("../vectors/sim/root.pem"), &[]).unwrap()),
        padding: Padding::Pkcs1,
        clock: WallClock { at: Instant::ZERO, unix_seconds: 1_800_000_000 },
    }
}

/// Lets the endpoint prove itself by its certificate and expect the other one's.
pub fn prove(config: &mut Config, first: bool) {
    let [a, b] = CERTIFICATES.get_or_init(|| {
        [read(include_bytes!("../vectors/sim/a.pem")), read(include_bytes!("../vectors/sim/b.pem"))]
    });
    let (ours, theirs) = if first { (a, b) } else { (b, a) };
    config.local_identity = ours.credential.subject();
    config.remote_identity = theirs.credential.subject();
    config.credentials = Credentials::Certificates(Box::new(ours.clone()));
}
