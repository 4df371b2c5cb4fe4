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

/// SIGKILL for every process of a group; `group` is the process id of its leader.
///
/// # Errors
/// When nobody is left in it.
pub fn kill_group(group: u32) -> Result<(), Error> {
    let Some(group) = libc::pid_t::try_from(group).ok().filter(|group| *group > 1) else { return Ok(()) };
    // SAFETY: kill takes plain integers and touches no memory of ours.
    let result = unsafe { libc::kill(-group, libc::SIGKILL) };
    if result == 0 { Ok(()) } else { Err(Error::last("end a group of processes")) }
}

/// The kernel's version, as in `uname -r`: `(6, 1, 0)`. Zeroes when it cannot be read.
pub fn kernel_version() -> (u32, u32, u32) {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or((0, 0, 0), |text| parse_version(&text))
}

fn parse_version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
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

/// Lets the calling thread's timers end this exactly (`PR_SET_TIMERSLACK`; the default is 50 us), for short sleeps.
pub fn set_timer_slack(slack: std::time::Duration) {
    let nanos = libc::c_ulong::try_from(slack.as_nanos()).unwrap_or(libc::c_ulong::MAX);
    // SAFETY: this prctl takes plain integers and changes the calling thread only. It cannot fail.
    let _ = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanos) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distribution_suffixes_do_not_disturb_the_version() {
        assert_eq!(parse_version("6.1.0-38-amd64\n"), (6, 1, 0));
        assert_eq!(parse_version("7.1"), (7, 1, 0));
        assert_eq!(parse_version("5.15.167.4-microsoft"), (5, 15, 167));
        assert!(kernel_version() > (4, 0, 0));
    }
}
