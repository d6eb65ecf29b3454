//! What is left of a phase, at its pace of the last minutes.

use std::{collections::VecDeque, time::Duration};

use control_plane::live::{Phase, Status};

/// The pace is that of so long: whatever an earlier run left is there at once and says nothing about the rest, and a phase that
/// stands still shall not seem to go on.
const WINDOW: Duration = Duration::from_secs(120);
/// Of a long phase it is that of the last of so many parts: servers that are booted fifty at a time are there in bunches, minutes apart.
const PARTS: u32 = 4;
/// After so long the pace is known, …
const LEAST: Duration = Duration::from_secs(60);
/// … or when one in so many things has been done: a fleet registers slowly at first, when all of it asks for tokens.
const ENOUGH: u64 = 10;

/// How far a phase was, and when.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Which phase, and how many things there are to do in it.
    of: Option<(Phase, u64)>,
    /// Time since it began, and things done by then.
    looks: VecDeque<(Duration, u64)>,
}

impl Pace {
    /// What the rest takes: by the plan where it has one, else as long as it takes if it goes on like this; `None` when nothing can
    /// be said, or nothing moves.
    pub(super) fn left(&mut self, status: &Status) -> Option<Duration> {
        if status.planned_left.is_some() {
            return status.planned_left;
        }
        let Status { phase, done, since, .. } = *status;
        let total = status.total?;
        // Phases have parts, each of which counts from nothing.
        if self.of != Some((phase, total)) || self.looks.back().is_some_and(|&(last, _)| last > since) {
            self.of = Some((phase, total));
            self.looks.clear();
        }
        self.looks.push_back((since, done));
        let window = WINDOW.max(since / PARTS);
        while self.looks.get(1).is_some_and(|&(next, _)| since - next >= window) {
            self.looks.pop_front();
        }
        let left = total.saturating_sub(done);
        if left == 0 {
            return Some(Duration::ZERO);
        }
        let &(from, had) = self.looks.front()?;
        let (took, did) = (since - from, done.saturating_sub(had));
        let known = did > 0 && (took >= LEAST || did.saturating_mul(ENOUGH) >= total);
        known.then(|| took.mul_f64(left as f64 / did as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to be left, in seconds, at the last of some looks: (seconds since the phase began, things done).
    fn left_s(total: Option<u64>, looks: impl IntoIterator<Item = (u64, u64)>) -> Option<u64> {
        let mut pace = Pace::default();
        let told = looks.into_iter().map(|(since_s, done)| {
            let (text, since) = (String::new(), Duration::from_secs(since_s));
            pace.left(&Status { phase: Phase::Register, done, total, text, since, planned_left: None })
        });
        told.last().flatten().map(|left| left.as_secs())
    }

    #[test]
    fn the_first_few_of_many_say_nothing() {
        assert_eq!(left_s(Some(100), [(0, 0), (10, 0)]), None);
        assert_eq!(left_s(Some(100), [(0, 0), (10, 9)]), None);
        assert_eq!(left_s(Some(100), [(0, 0), (10, 25)]), Some(30));
        assert_eq!(left_s(Some(100), [(0, 0), (60, 5)]), Some(1140), "but in a minute they do");
        assert_eq!(left_s(None, [(0, 0), (10, 5)]), None);
        assert_eq!(left_s(Some(10), [(0, 10)]), Some(0));
    }

    #[test]
    fn what_was_there_before_is_no_pace() {
        let new = (0..=100).map(|second| (second, 5_000 + 2 * second));
        assert_eq!(left_s(Some(7_000), new), Some(900));
    }

    #[test]
    fn only_the_last_minutes_count() {
        let fast_then_slow = (0..=400).map(|second| (second, if second < 200 { 3 * second } else { 400 + second }));
        assert_eq!(left_s(Some(1_000), fast_then_slow), Some(200));
        let stands_still = (0..=400).map(|second| (second, second.min(200)));
        assert_eq!(left_s(Some(1_000), stands_still), None);
    }

    #[test]
    fn bunches_minutes_apart_are_a_pace() {
        let bunches = |seconds| left_s(Some(9_000), (0..=seconds).map(|second| (second, 100 * (second / 100))));
        for seconds in [4_000, 4_033, 4_066, 4_099] {
            let left = bunches(seconds).unwrap();
            assert!((4_500..5_500).contains(&left), "{left} s for 5,000 at one in a second");
        }
    }

    #[test]
    fn a_part_that_counts_from_nothing_begins_anew() {
        assert_eq!(left_s(Some(100), [(0, 0), (10, 50), (0, 60), (10, 80)]), Some(10));
    }

    #[test]
    fn the_plan_knows_better() {
        let planned_left = Some(Duration::from_secs(7));
        let status = Status {
            phase: Phase::Load,
            done: 0,
            total: None,
            text: String::new(),
            since: Duration::ZERO,
            planned_left,
        };
        assert_eq!(Pace::default().left(&status), planned_left);
    }
}
