//! Keys of IKE SAs for somebody who was allowed to see them: an analyst with a packet capture. Off unless asked for;
//! then every IKE SA's keys are kept until they are taken, a few at most.

use model::IkeSpi;

use crate::crypto::{SaKeys, Suite};
use crate::sa::Ctx;

/// Keys kept until somebody takes them; of more, the newest.
const EXPOSED_MAX: usize = 16;

/// What decrypts an IKE SA. Its `Debug` shows no key.
#[derive(Clone, Debug)]
pub struct ExposedKeys {
    /// The initiator's SPI.
    pub spi_i: IkeSpi,
    /// The responder's SPI.
    pub spi_r: IkeSpi,
    /// Algorithms.
    pub suite: Suite,
    /// The seven keys.
    pub keys: SaKeys,
}

impl Ctx {
    /// Keeps the keys of an IKE SA if somebody asked for them.
    pub(crate) fn expose(&mut self, spis: (IkeSpi, IkeSpi), suite: Suite, keys: &SaKeys) {
        let Some(exposed) = &mut self.exposed else { return };
        if exposed.len() == EXPOSED_MAX {
            exposed.pop_front();
        }
        exposed.push_back(ExposedKeys { spi_i: spis.0, spi_r: spis.1, suite, keys: keys.clone() });
    }
}
