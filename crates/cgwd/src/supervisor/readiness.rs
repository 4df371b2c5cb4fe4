//! Waiting in the runtime for a descriptor that `net` owns.

use std::io;
use std::os::fd::BorrowedFd;

use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// Tells when a descriptor can be read; reads nothing itself.
///
/// The runtime watches a duplicate, dressed as a datagram socket: `AsyncFd` cannot be made without `unsafe`, and
/// readiness is all that is used of it.
#[derive(Debug)]
pub(super) struct Readiness(UnixDatagram);

impl Readiness {
    /// Watches `fd`, which must be non-blocking.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let duplicate = std::os::unix::net::UnixDatagram::from(fd.try_clone_to_owned()?);
        Ok(Self(UnixDatagram::from_std(duplicate)?))
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// When the runtime ends.
    pub(super) async fn wait(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Reads by `read`; when that says `WouldBlock`, [`Readiness::wait`] waits for the kernel again.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn read<T>(&self, read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.try_io(Interest::READABLE, read)
    }
}
