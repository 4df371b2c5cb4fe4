//! Waiting for descriptors, and waking a thread that waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Most descriptors one `wait` takes; the workers watch at most five.
pub const MAX_WATCHED: usize = 8;

/// What happened to the descriptors of one `wait`, as a bit per index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready(u8);

impl Ready {
    /// Whether descriptor `index` can be read, or has an error or hang-up to be read.
    pub const fn is(self, index: usize) -> bool {
        index < MAX_WATCHED && self.0 & (1 << index) != 0
    }

    /// Whether the time ran out with nothing ready.
    pub const fn none(self) -> bool {
        self.0 == 0
    }
}

/// Waits until one of `watched` can be read, or `timeout` passed (`None`: for ever). An interrupting signal
/// counts as "nothing ready".
///
/// # Errors
/// Only for a programming error (a closed descriptor is reported as ready); more than [`MAX_WATCHED`]
/// descriptors are refused.
pub fn wait(watched: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Ready> {
    if watched.len() > MAX_WATCHED {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut fds = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; MAX_WATCHED];
    for (slot, fd) in fds.iter_mut().zip(watched) {
        slot.fd = fd.as_raw_fd();
    }
    // Rounded up, so that a timer never fires early and spins.
    let millis = match timeout {
        None => -1,
        Some(time) => i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
    };
    let count = libc::nfds_t::try_from(watched.len()).unwrap_or(0);
    // SAFETY: `fds` is an array of at least `count` valid pollfd, alive during the call; the descriptors are
    // borrowed, so they stay open.
    let result = unsafe { libc::poll(fds.as_mut_ptr(), count, millis) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(Ready(0)) } else { Err(error) };
    }
    let mut ready = 0;
    for (index, slot) in fds.iter().take(watched.len()).enumerate() {
        if slot.revents != 0 {
            ready |= 1 << index;
        }
    }
    Ok(Ready(ready))
}

/// Waits until `fd` takes more to send, or `timeout` passed; `false` for the latter.
///
/// # Errors
/// Only for a programming error.
pub fn wait_writable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut slot = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `slot` is one valid pollfd, alive during the call.
    match unsafe { libc::poll(&raw mut slot, 1, millis) } {
        0 => Ok(false),
        n if n > 0 => Ok(true),
        _ => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
        }
    }
}

/// An eventfd: any thread wakes the one that polls it.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A new eventfd, close-on-exec and non-blocking.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes plain integers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created and is owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the descriptor readable. A full counter means it already is, so errors do not matter.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is readable for eight octets.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes the descriptor unreadable again.
    pub fn clear(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: `count` is writable for eight octets.
        let _ = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_is_ready_exactly_between_wake_and_clear() {
        let (a, b) = (Waker::new().unwrap(), Waker::new().unwrap());
        let poll = || wait(&[a.as_fd(), b.as_fd()], Some(Duration::ZERO)).unwrap();
        assert!(poll().none());
        b.wake();
        b.wake();
        assert!(!poll().is(0));
        assert!(poll().is(1));
        b.clear();
        assert!(poll().none());
    }
}
