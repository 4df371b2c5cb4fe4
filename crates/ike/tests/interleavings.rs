//! Every order in which the messages and time-outs of two rekeying sides can meet, on the real endpoints.
//!
//! Both sides are told to rekey the child and the IKE SA. From each state the checker follows everything that can
//! happen next: an order is given, any message under way arrives, arrives twice or is lost, the next time-out
//! comes. States that were seen are not followed again. In every state each side must have a child to send
//! on which the other side can receive; every story must come to an end, with one IKE SA and one child.
//!
//! `cargo test --release -p ike --features fork --test interleavings -- --nocapture` is the part that
//! CI runs; `CGWD_SOAK=1` adds the whole: one loss, one duplicate and a time-out too early in one story.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]
// Nothing depends on the order of this hash table, and it grows to millions.
#![allow(clippy::disallowed_types)]

mod interleaving;

use std::collections::HashMap;

use ike::Command;
use interleaving::{Budget, Side, Step, Whole};

const BOTH_REKEY_BOTH: [(Side, Command); 4] =
    [(0, Command::RekeyChild), (0, Command::RekeyIke), (1, Command::RekeyChild), (1, Command::RekeyIke)];
/// No story of two sides that behave has as many steps.
const STEPS_MAX: usize = 400;

#[derive(Default, Debug)]
struct Found {
    states: u64,
    transitions: u64,
    ends: u64,
    collisions: u64,
    longest: usize,
}

/// Where a state stands in the search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// On the way that is being followed: coming back to it would be a circle.
    Open,
    Done,
}

struct Frame {
    state: Whole,
    name: u128,
    steps: Vec<Step>,
}

/// Follows everything from `start`.
fn explore(start: Whole) -> Found {
    let mut found = Found::default();
    let mut marks: HashMap<u128, Mark> = HashMap::new();
    let mut way: Vec<Step> = Vec::new();
    let mut frames = Vec::new();
    enter(start, &mut marks, &mut found, &way).into_iter().for_each(|frame| frames.push(frame));
    while let Some(frame) = frames.last_mut() {
        let Some(step) = frame.steps.pop() else {
            marks.insert(frame.name, Mark::Done);
            frames.pop();
            way.pop();
            continue;
        };
        let mut next = frame.state.fork();
        next.take(step);
        way.push(step);
        found.transitions += 1;
        found.longest = found.longest.max(way.len());
        assert!(way.len() < STEPS_MAX, "a story without end: {way:?}");
        match enter(next, &mut marks, &mut found, &way) {
            Some(frame) => frames.push(frame),
            None => drop(way.pop()),
        }
    }
    found
}

/// Judges a state; gives the frame to go on from when it is new.
fn enter(state: Whole, marks: &mut HashMap<u128, Mark>, found: &mut Found, way: &[Step]) -> Option<Frame> {
    if let Err(wrong) = state.judge() {
        panic!("{wrong}, after {way:#?}");
    }
    let name = state.name();
    match marks.get(&name) {
        Some(Mark::Done) => return None,
        Some(Mark::Open) => panic!("the two go round in a circle: {way:#?}"),
        None => {}
    }
    found.states += 1;
    let steps = state.steps();
    if steps.is_empty() {
        found.ends += 1;
        found.collisions += u64::from(state.collided());
        if let Err(wrong) = state.judge_end() {
            panic!("{wrong}, after {way:#?}");
        }
    }
    marks.insert(name, Mark::Open);
    Some(Frame { state, name, steps })
}

/// Runs a story for some outcomes of the nonces, silent and under traffic, and prints what was seen.
fn check(title: &str, orders: &[(Side, Command)], budget: Budget, seeds: std::ops::Range<u64>) -> Found {
    let mut total = Found::default();
    let stories: Vec<_> = seeds.flat_map(|seed| [(seed, false), (seed, true)]).collect();
    let halves = stories.chunks(stories.len().div_ceil(2));
    let results = std::thread::scope(|scope| {
        let run = |half: Vec<(u64, bool)>| {
            half.into_iter()
                .map(|(seed, busy)| explore(Whole::new(seed, orders, budget, busy)))
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = halves.map(|half| scope.spawn(move || run(half.to_vec()))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for found in results {
        total.states += found.states;
        total.transitions += found.transitions;
        total.ends += found.ends;
        total.collisions += found.collisions;
        total.longest = total.longest.max(found.longest);
    }
    println!("{title}, {budget:?}: {total:?}");
    total
}

const QUIET: Budget = Budget { losses: 0, duplicates: 0, early: 0 };
const ROUGH: Budget = Budget { losses: 1, duplicates: 1, early: 0 };

#[test]
fn two_sides_that_rekey_child_and_ike_sa_at_once_never_lose_the_tunnel() {
    assert!(check("all four rekeys", &BOTH_REKEY_BOTH, QUIET, 0..2).collisions > 0);
}

#[test]
fn child_rekeys_that_collide_survive_a_loss_and_a_duplicate() {
    let orders = [(0, Command::RekeyChild), (1, Command::RekeyChild)];
    assert!(check("child rekeys", &orders, ROUGH, 0..4).collisions > 0);
}

#[test]
fn ike_rekeys_that_collide_survive_a_loss_and_a_duplicate() {
    let orders = [(0, Command::RekeyIke), (1, Command::RekeyIke)];
    assert!(check("IKE rekeys", &orders, ROUGH, 0..4).collisions > 0);
}

#[test]
fn a_child_rekey_and_an_ike_rekey_of_the_other_side_survive_a_loss_a_duplicate_and_an_early_time_out() {
    let orders = [(0, Command::RekeyChild), (1, Command::RekeyIke)];
    let found = check("a child rekey and an IKE rekey", &orders, Budget { early: 1, ..ROUGH }, 0..1);
    assert!(found.ends > 1);
}

/// Tens of millions of states and gigabytes of names: not for every run. The figures are in
/// docs/reliability.md.
#[test]
fn all_four_rekeys_survive_a_loss_and_a_duplicate() {
    if std::env::var_os("CGWD_SOAK").is_none() {
        println!("skipped: set CGWD_SOAK=1 for the whole");
        return;
    }
    assert!(check("all four rekeys", &BOTH_REKEY_BOTH, ROUGH, 0..1).collisions > 0);
}
