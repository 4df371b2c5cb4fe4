//! What a path does to packets.

use std::time::Duration;

use crate::rng::SimRng;

/// The habits of a path, the same in both directions. Rates are per thousand packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Shortest time under way.
    pub delay_min: Duration,
    /// Longest time under way; a range makes packets overtake each other.
    pub delay_max: Duration,
    /// Packets lost.
    pub loss: u32,
    /// Packets that arrive twice.
    pub duplicate: u32,
    /// Packets with one bit flipped.
    pub corrupt: u32,
    /// Packets that lose their tail.
    pub truncate: u32,
    /// Packets held back far beyond `delay_max`, up to [`Link::STRAGGLE`].
    pub straggle: u32,
    /// Longest UDP payload that passes; what is longer is lost without a word.
    pub longest: usize,
    /// Nothing passes.
    pub cut: bool,
}

/// What happens to one packet: the copies that arrive, each after its delay.
pub type Fate = Vec<(Duration, Vec<u8>)>;

impl Link {
    /// How long a straggler may be under way.
    pub const STRAGGLE: Duration = Duration::from_secs(20);

    /// A path that delivers everything, in order, after `delay`.
    pub const fn perfect(delay: Duration) -> Self {
        Self {
            delay_min: delay,
            delay_max: delay,
            loss: 0,
            duplicate: 0,
            corrupt: 0,
            truncate: 0,
            straggle: 0,
            longest: usize::MAX,
            cut: false,
        }
    }

    /// Draws what happens to a packet.
    pub fn carry(&self, rng: &mut SimRng, payload: &[u8]) -> Fate {
        if self.cut || payload.len() > self.longest || rng.chance(self.loss) {
            return Vec::new();
        }
        let copies = if rng.chance(self.duplicate) { 2 } else { 1 };
        (0..copies).map(|_| (self.delay(rng), self.alter(rng, payload))).collect()
    }

    fn delay(&self, rng: &mut SimRng) -> Duration {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let high = if rng.chance(self.straggle) { Self::STRAGGLE } else { self.delay_max };
        Duration::from_millis(rng.between(millis(self.delay_min), millis(high)))
    }

    fn alter(&self, rng: &mut SimRng, payload: &[u8]) -> Vec<u8> {
        let mut payload = payload.to_vec();
        if !payload.is_empty() && rng.chance(self.corrupt) {
            let bit = rng.between(0, payload.len() as u64 * 8 - 1);
            if let Some(octet) = payload.get_mut(usize::try_from(bit / 8).unwrap_or(0)) {
                *octet ^= 1 << (bit % 8);
            }
        }
        if !payload.is_empty() && rng.chance(self.truncate) {
            let length = rng.between(0, payload.len() as u64 - 1);
            payload.truncate(usize::try_from(length).unwrap_or(0));
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_link_changes_nothing_and_a_cut_one_delivers_nothing() {
        let mut rng = SimRng::new(1);
        let mut link = Link::perfect(Duration::from_millis(7));
        assert_eq!(link.carry(&mut rng, b"hello"), vec![(Duration::from_millis(7), b"hello".to_vec())]);
        link.longest = 4;
        assert!(link.carry(&mut rng, b"hello").is_empty());
        link.longest = 5;
        assert_eq!(link.carry(&mut rng, b"hello").len(), 1);
        link.cut = true;
        assert!(link.carry(&mut rng, b"hello").is_empty());
    }

    #[test]
    fn rates_are_about_what_they_say() {
        let mut rng = SimRng::new(2);
        let mut link = Link::perfect(Duration::ZERO);
        link.loss = 100;
        link.duplicate = 100;
        link.corrupt = 100;
        let fates: Vec<_> = (0..10_000).map(|_| link.carry(&mut rng, b"hello")).collect();
        let lost = fates.iter().filter(|fate| fate.is_empty()).count();
        let twice = fates.iter().filter(|fate| fate.len() == 2).count();
        let altered = fates.iter().flatten().filter(|(_, payload)| payload != b"hello").count();
        for count in [lost, twice, altered] {
            assert!((800..1_200).contains(&count), "{count}");
        }
    }
}
