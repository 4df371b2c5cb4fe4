//! Properties of our own process.

use crate::Error;

/// Forbids core dumps and `ptrace` by others of the same user: keys stay out of both (`PR_SET_DUMPABLE`, and
/// `RLIMIT_CORE` of zero for a core handler that ignores it). To be called before a key is read.
///
/// # Errors
/// When the kernel refuses, which it never does on Linux.
pub fn set_not_dumpable() -> Result<(), Error> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid rlimit, alive during the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } != 0 {
        return Err(Error::last("forbid core dumps"));
    }
    // SAFETY: PR_SET_DUMPABLE takes plain integers and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(Error::last("forbid core dumps")) }
}

/// Whether this process has the effective capability `bit` (`CAP_NET_ADMIN` is 12, `CAP_NET_RAW` 13), from
/// `/proc/self/status`.
pub fn has_capability(bit: u32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|mask| bit < 64 && mask & (1 << bit) != 0)
}
