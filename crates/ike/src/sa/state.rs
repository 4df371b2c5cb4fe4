//! One IKE SA in whichever state it is.

use model::{IkeSpi, Instant};

use super::Ctx;
use super::candidates::Candidates;
use super::established::Established;
use super::initiator::Initiator;
use super::responder::HalfOpen;
use crate::timer::Timer;

/// The states; see `docs/ike-states.md`.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) enum Sa {
    /// Our IKE_SA_INIT is out.
    Initiator(Box<Initiator>),
    /// Our IKE_AUTH is out, to each of those who answered.
    Authenticating(Box<Candidates>),
    /// The peer's IKE_SA_INIT is answered.
    HalfOpen(Box<HalfOpen>),
    /// Authenticated.
    Established(Box<Established>),
}

impl Sa {
    /// Our SPI, under which the endpoint holds it.
    pub(crate) fn spi(&self) -> IkeSpi {
        match self {
            Self::Initiator(sa) => sa.spi,
            Self::Authenticating(sa) => sa.spi(),
            Self::HalfOpen(sa) => sa.agreed.spi_r,
            Self::Established(sa) => sa.spi_local(),
        }
    }

    /// Whether it is an attempt of ours.
    pub(crate) const fn is_attempt(&self) -> bool {
        matches!(self, Self::Initiator(_) | Self::Authenticating(_))
    }

    /// The next instant at which time matters.
    pub(crate) fn due(&self, ctx: &Ctx) -> Option<(Instant, Timer)> {
        match self {
            Self::Initiator(sa) => sa.due(),
            Self::Authenticating(sa) => sa.due(),
            Self::HalfOpen(sa) => Some((sa.expires, Timer::HalfOpen)),
            Self::Established(sa) => sa.due(ctx),
        }
    }

    /// What [`crate::Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        match self {
            Self::Initiator(sa) => sa.digest(out),
            Self::Authenticating(sa) => sa.digest(out),
            Self::HalfOpen(sa) => sa.digest(out),
            Self::Established(sa) => sa.digest(out),
        }
    }
}
