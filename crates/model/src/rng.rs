//! Randomness as an argument.

/// A cryptographically secure generator in production, a seeded one in simulation.
pub trait SecureRng: Send {
    /// Fills `out` with unpredictable octets.
    fn fill(&mut self, out: &mut [u8]);

    /// A uniformly drawn 32-bit value.
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_ne_bytes(bytes)
    }

    /// A uniformly drawn 64-bit value.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    /// A value in `0..=max`, for jitter; the bias of the modulus does not matter there.
    fn up_to(&mut self, max: u64) -> u64 {
        match max.checked_add(1) {
            Some(n) => self.next_u64() % n,
            None => self.next_u64(),
        }
    }
}
