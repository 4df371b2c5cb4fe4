//! System calls: UDP batches, TUN devices, raw ESP sockets, netlink, clock, entropy, polling.
//!
//! The only crate with `unsafe`; every block says why it is sound. It knows no protocol of ours: it moves bytes
//! and kernel objects, never decides what they mean, never enters another network namespace, and never logs.
#![warn(unsafe_op_in_unsafe_fn)]

/// The error numbers that callers tell apart, so that they need no libc.
pub mod errno {
    pub use libc::{
        EBADFD, ECONNREFUSED, EEXIST, EHOSTUNREACH, EINVAL, EIO, EMSGSIZE, ENETUNREACH, ENOBUFS, ENODEV,
        ENOENT, EPERM, ESRCH, EXDEV,
    };
}

pub mod clock;
pub mod entropy;
mod error;
pub mod icmp;
pub mod netlink;
pub mod packet;
pub mod poll;
pub mod process;
pub mod raw;
mod socket;
pub mod sysctl;
pub mod tcp;
pub mod tun;
pub mod udp;

pub use clock::MonotonicClock;
pub use entropy::OsRng;
pub use error::Error;
pub use process::set_not_dumpable;
