//! Several answers to one IKE_SA_INIT request: all are followed, and the one that authenticates wins.
//!
//! A forged answer that comes first must not cost the attempt: the true one is taken up when it comes, and
//! whatever does not authenticate is forgotten. RFC 7296 §2.4: the initiator MAY accept multiple responses, treat
//! each as potentially legitimate, and discard the invalid ones when it gets a valid protected one.

use model::{IkeSpi, Instant};

use super::Ctx;
use super::authenticating::{self, Agreed, Authenticating, Outcome};
use super::initiator::{self, Initiator};
use crate::config::Config;
use crate::error::{DropReason, Failure};
use crate::timer::Timer;
use crate::wire::{ExchangeType, Header};

/// Answers followed in one attempt.
const MAX_CANDIDATES: usize = 3;

/// An attempt of ours in IKE_AUTH, with every responder that may be the true one.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Candidates {
    origin: Initiator,
    list: Vec<Authenticating>,
    /// Responder SPIs of all that were ever followed. None is followed twice: the same answer gives the same
    /// keys, and the IVs used under them would begin anew (RFC 5282 §3.1 forbids one to repeat).
    followed: Vec<IkeSpi>,
}

/// A judged answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One more answer to IKE_SA_INIT.
    Another(Box<Agreed>),
    /// An answer to the IKE_AUTH of the candidate with this responder SPI.
    Auth(IkeSpi, authenticating::Answer),
}

impl Candidates {
    /// Follows the first answer.
    pub(crate) fn new(origin: Initiator, first: Authenticating) -> Self {
        let followed = vec![first.agreed.spi_r];
        Self { origin, list: vec![first], followed }
    }

    /// Our SPI, the same for all of them.
    pub(crate) const fn spi(&self) -> IkeSpi {
        self.origin.spi
    }

    /// The first that is still followed; for `status`.
    pub(crate) fn first(&self) -> Option<&Agreed> {
        self.list.first().map(|candidate| &candidate.agreed)
    }

    /// Judges an answer; changes nothing.
    pub(crate) fn check(
        &self,
        config: &Config,
        from_peer: bool,
        header: &Header,
        datagram: &[u8],
    ) -> Result<Answer, DropReason> {
        if header.exchange != ExchangeType::IKE_SA_INIT {
            let candidate = self.list.iter().find(|candidate| candidate.agreed.spi_r == header.spi_r);
            let answer = candidate.ok_or(DropReason::UnknownSpi)?.check(header, datagram)?;
            return Ok(Answer::Auth(header.spi_r, answer));
        }
        if !from_peer || self.followed.contains(&header.spi_r) {
            return Err(DropReason::Unexpected);
        }
        if self.followed.len() >= MAX_CANDIDATES {
            return Err(DropReason::Limit);
        }
        match self.origin.check(config, header, datagram)? {
            initiator::Answer::Agreed(agreed) => Ok(Answer::Another(agreed)),
            _ => Err(DropReason::Unexpected),
        }
    }

    /// Follows one more answer.
    pub(crate) fn follow(&mut self, ctx: &mut Ctx, agreed: Agreed) {
        self.followed.push(agreed.spi_r);
        let candidate = Authenticating::start(ctx, agreed);
        self.list.push(candidate);
    }

    /// Acts on an answer to IKE_AUTH. `None`: the attempt goes on.
    pub(crate) fn conclude(
        &mut self,
        ctx: &mut Ctx,
        spi_r: IkeSpi,
        answer: authenticating::Answer,
    ) -> Option<Outcome> {
        let index = self.list.iter().position(|candidate| candidate.agreed.spi_r == spi_r)?;
        let verified = match answer {
            authenticating::Answer::Refusal(failure) => {
                self.list.get_mut(index)?.refuse(ctx, failure);
                return None;
            }
            authenticating::Answer::Protected(verified) => Some(*verified),
            authenticating::Answer::Malformed => None,
            authenticating::Answer::Fragment(fragment, datagram) => {
                self.list.get_mut(index)?.add(ctx, *fragment, &datagram)?.verified
            }
        };
        match self.list.remove(index).conclude(ctx, verified) {
            Outcome::Failed(_) if !self.list.is_empty() => None,
            Outcome::Continues(candidate) => {
                self.list.insert(index, *candidate);
                None
            }
            outcome => {
                self.abandon(ctx);
                Some(outcome)
            }
        }
    }

    /// Gives back what the candidates hold.
    pub(crate) fn abandon(&mut self, ctx: &mut Ctx) {
        for candidate in self.list.drain(..) {
            candidate.abandon(ctx);
        }
    }

    /// Lets time pass; `Some` ends the attempt.
    pub(crate) fn tick(&mut self, ctx: &mut Ctx) -> Option<Failure> {
        let mut last = None;
        let mut kept = Vec::new();
        for mut candidate in self.list.drain(..) {
            match candidate.tick(ctx) {
                Some(failure) => {
                    candidate.abandon(ctx);
                    last = Some(failure);
                }
                None => kept.push(candidate),
            }
        }
        self.list = kept;
        last.filter(|_| self.list.is_empty())
    }

    /// The next instant at which time matters.
    pub(crate) fn due(&self) -> Option<(Instant, Timer)> {
        self.list.iter().filter_map(Authenticating::due).min()
    }

    /// What [`crate::Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        out.extend(self.followed.iter().map(|spi| spi.0));
        for candidate in &self.list {
            candidate.digest(out);
        }
    }
}
