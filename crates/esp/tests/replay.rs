//! The replay window against a plain model, and at its edges.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use esp::{MAX_REPLAY_WINDOW, MIN_REPLAY_WINDOW, ReplayWindow};
use proptest::prelude::*;

/// The window as RFC 4303 §3.4.3 describes it, by a set.
struct Model {
    seen: BTreeSet<u64>,
    top: u64,
    width: u64,
}

impl Model {
    fn accepts(&self, sequence: u64) -> bool {
        sequence != 0 && sequence + self.width > self.top && !self.seen.contains(&sequence)
    }

    fn mark(&mut self, sequence: u64) {
        self.seen.insert(sequence);
        self.top = self.top.max(sequence);
    }
}

/// Offers `sequence` as a receiver would: check, and mark what passed.
fn offer(window: &mut ReplayWindow, sequence: u64) -> bool {
    let new = window.check(sequence);
    if new {
        window.mark(sequence);
    }
    new
}

#[test]
fn the_edges_are_exact_at_every_width() {
    for width in [64, 65, 100, 127, 128, 129, 192, 1000, 1024, 2048, 4096, 8191, MAX_REPLAY_WINDOW] {
        let w = u64::from(width);
        // Tops at every place within a word, and far out.
        for top in (w + 1..w + 130).chain([1 << 32, (1 << 32) + 17, u64::MAX - 1, u64::MAX]) {
            let mut window = ReplayWindow::new(width);
            assert_eq!(window.width(), w);
            assert!(offer(&mut window, top));
            assert!(!window.check(top), "the top itself was seen");
            assert!(window.check(top - 1));
            assert!(window.check(top - (w - 2)));
            assert!(window.check(top - (w - 1)), "width {width}, top {top}: W-1 behind is inside");
            assert!(!window.check(top - w), "width {width}, top {top}: W behind is outside");
            assert!(!window.check(top - w - 1), "W+1 behind is outside");
            assert!(offer(&mut window, top - (w - 1)));
            assert!(!offer(&mut window, top - (w - 1)), "only once");
        }
    }
}

#[test]
fn zero_is_never_new_and_one_is() {
    let mut window = ReplayWindow::new(64);
    assert!(!window.check(0));
    assert!(offer(&mut window, 1));
    assert!(!offer(&mut window, 1));
    assert!(!window.check(0));
}

#[test]
fn checking_changes_nothing() {
    let mut window = ReplayWindow::new(64);
    window.mark(10);
    assert!(window.check(1000));
    assert!(window.check(1000));
    assert_eq!(window.top(), 10);
    assert!(window.check(9));
}

#[test]
fn a_table_of_jumps() {
    // (sequence, whether it is new), in order, at width 64.
    let table: [(u64, bool); 20] = [
        (5, true),
        (3, true),
        (3, false),
        (68, true),  // one step past a full window from 5
        (5, false),  // 63 behind: inside, and seen
        (4, false),  // 64 behind: outside, though never seen
        (6, true),   // 62 behind
        (132, true), // exactly one window further
        (68, false), // outside now
        (69, true),  // the last one inside
        (132, false),
        (131, true),
        (10_000, true), // further than the ring is long: everything is forgotten
        (9_937, true),  // the oldest inside
        (9_936, false), // the youngest outside
        (131, false),
        (9_999, true),
        (10_064, true), // W further: the old top is just outside
        (10_000, false),
        (10_001, true),
    ];
    let mut window = ReplayWindow::new(64);
    for (step, (sequence, new)) in table.into_iter().enumerate() {
        assert_eq!(offer(&mut window, sequence), new, "step {step}: {sequence}");
    }
}

#[test]
fn a_whole_ring_turn_leaves_no_stale_bits() {
    let mut window = ReplayWindow::new(100);
    for sequence in 1..5000 {
        assert!(offer(&mut window, sequence));
    }
    // Step by a multiple of the ring's length: the same words are used again.
    assert!(offer(&mut window, 4999 + 256));
    for sequence in 4999 + 256 - 99..4999 + 256 {
        assert!(offer(&mut window, sequence), "{sequence}");
    }
}

#[test]
fn widths_out_of_range_are_clamped() {
    assert_eq!(ReplayWindow::new(0).width(), u64::from(MIN_REPLAY_WINDOW));
    assert_eq!(ReplayWindow::new(u32::MAX).width(), u64::from(MAX_REPLAY_WINDOW));
}

/// RFC 4303 Appendix A2: what the low half of a number means, given where the window stands.
#[test]
fn the_upper_half_is_inferred_on_both_sides_of_the_turn() {
    const TURN: u64 = 1 << 32;
    let infer = |top: u64, low: u64| {
        let mut window = ReplayWindow::new(64);
        if top > 0 {
            window.mark(top);
        }
        window.infer(low as u32)
    };
    // Case A: the window lies inside one turn.
    assert_eq!(infer(1000, 1001), Some(1001));
    assert_eq!(infer(1000, 937), Some(937), "the left edge");
    assert_eq!(infer(1000, 936), Some(TURN + 936), "left of it belongs to the next turn");
    assert_eq!(infer(TURN - 1, 0), Some(TURN), "the turn itself");
    assert_eq!(infer(TURN - 1, 5), Some(TURN + 5));
    assert_eq!(infer(TURN + 63, 0), Some(TURN), "63 is the first top whose window is all in the new turn");
    assert_eq!(infer(TURN + 63, TURN - 1), Some(2 * TURN - 1));
    // Case B: the window spans the turn.
    assert_eq!(infer(TURN, TURN - 1), Some(TURN - 1));
    assert_eq!(infer(TURN, TURN - 63), Some(TURN - 63), "the left edge, before the turn");
    assert_eq!(infer(TURN, TURN - 64), Some(2 * TURN - 64), "left of it: far ahead");
    assert_eq!(infer(TURN + 10, TURN - 53), Some(TURN - 53));
    assert_eq!(infer(TURN + 10, 9), Some(TURN + 9));
    assert_eq!(infer(TURN + 62, TURN - 1), Some(TURN - 1));
    // At the very beginning nothing lies before.
    assert_eq!(infer(0, 1), Some(1));
    assert_eq!(infer(0, TURN - 64), Some(TURN - 64));
    assert_eq!(infer(0, TURN - 63), None);
    assert_eq!(infer(10, TURN - 1), None);
    // And at the very end nothing lies behind.
    assert_eq!(infer(u64::MAX, TURN - 1), Some(u64::MAX));
    assert_eq!(infer(u64::MAX, 0), None);
}

fn steps() -> impl Strategy<Value = Vec<i64>> {
    let near = -200i64..200;
    let edge = prop_oneof![Just(-65i64), Just(-64), Just(-63), Just(63), Just(64), Just(65)];
    let far = prop_oneof![-5000i64..5000, Just(1 << 20), Just(1 << 33)];
    prop::collection::vec(prop_oneof![6 => near, 2 => edge, 1 => far, 4 => Just(1i64)], 1..400)
}

proptest! {
    #[test]
    fn the_ring_agrees_with_the_set(width in 64u32..700, steps in steps(), start in prop_oneof![Just(0u64), 0..5000u64]) {
        let mut window = ReplayWindow::new(width);
        let mut model = Model { seen: BTreeSet::new(), top: 0, width: u64::from(width) };
        if start > 0 {
            window.mark(start);
            model.mark(start);
        }
        for step in steps {
            let sequence = window.top().saturating_add_signed(step);
            prop_assert_eq!(window.check(sequence), model.accepts(sequence), "{}", sequence);
            if window.check(sequence) {
                window.mark(sequence);
                model.mark(sequence);
            }
            prop_assert_eq!(window.top(), model.top);
        }
    }

    #[test]
    fn any_number_near_the_window_is_inferred_right(
        width in 64u32..70_000, top in prop_oneof![0u64..1 << 20, (1u64 << 32) - 70_000..(1 << 32) + 70_000, 1u64 << 40..1 << 50],
        ahead in prop_oneof![0u64..100_000, 0..(1u64 << 32) - (1 << 16)], behind in 0u64..70_000,
    ) {
        let mut window = ReplayWindow::new(width);
        if top > 0 {
            window.mark(top);
        }
        // Every number from the left edge to 2^32 - width ahead has one low half.
        let forward = top + ahead;
        prop_assert_eq!(window.infer(forward as u32), Some(forward));
        let backward = top.saturating_sub(behind % window.width());
        if backward > 0 {
            prop_assert_eq!(window.infer(backward as u32), Some(backward));
        }
    }
}
