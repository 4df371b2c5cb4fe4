//! The operating system's random generator.

use model::SecureRng;

/// `getrandom(2)`: blocks only before the kernel's pool is first seeded, and cannot fail after that.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRng;

impl SecureRng for OsRng {
    fn fill(&mut self, out: &mut [u8]) {
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // SAFETY: `rest` is writable for `rest.len()` octets.
            let result = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(result) {
                Ok(n) => filled += n,
                // Only EINTR is possible with flags 0 on any kernel we run on; with ENOSYS going on would mean
                // predictable keys, so the process ends.
                Err(_) => match std::io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => {}
                    _ => std::process::abort(),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        OsRng.fill(&mut a);
        OsRng.fill(&mut b);
        assert_ne!(a, b);
        assert_ne!(a, [0; 32]);
    }
}
