//! What can go wrong at the kernel boundary.

use std::io;

/// A system call that failed, with what it was meant to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused; `what` reads as "cannot `what`".
    #[error("cannot {what}: {source}{}", remedy(.source))]
    System {
        /// What was being done, with the object's name.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No interface of that name exists in this network namespace.
    #[error("there is no interface {0} in this network namespace")]
    NoInterface(String),
    /// The kernel's answer could not be understood.
    #[error("cannot {what}: the kernel's answer is malformed ({detail})")]
    Answer {
        /// What was being done.
        what: String,
        /// What was wrong with the answer.
        detail: String,
    },
    /// An argument the kernel could not even be asked about.
    #[error("{0}")]
    Argument(String),
}

impl Error {
    /// An error from a system call just made, with its errno.
    pub(crate) fn last(what: impl Into<String>) -> Self {
        Self::System { what: what.into(), source: io::Error::last_os_error() }
    }

    /// Wraps an `io::Error` with what was being done.
    pub fn system(what: impl Into<String>, source: io::Error) -> Self {
        Self::System { what: what.into(), source }
    }

    /// The errno, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } => source.raw_os_error(),
            Self::NoInterface(_) => Some(libc::ENODEV),
            Self::Answer { .. } | Self::Argument(_) => None,
        }
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " (needs CAP_NET_ADMIN, CAP_NET_BIND_SERVICE for ports below 1024, and CAP_NET_RAW for protocol 50; run as \
             root or grant the capability)"
        }
        Some(libc::EADDRINUSE) => {
            " (another IPsec daemon may hold the port; stop it, or look with `ss -ulpn`)"
        }
        Some(libc::EADDRNOTAVAIL) => " (the address is not on this machine)",
        _ => "",
    }
}
