//! The calendar: what will happen, in order of time.

use std::collections::VecDeque;

use hypervisor::Time;

/// Events to come. They leave in order of their time, and events of one time in the order they were entered.
///
/// A radix heap (Ahuja, Mehlhorn, Orlin and Tarjan, 1990). It relies on what every simulation keeps: no event is entered
/// before the time of the last one that left. Entries lie in buckets by the highest bit in which their time differs from the
/// present; taking one out empties the lowest bucket into those below it. No entry moves more than 64 times, and on average
/// few do; all moves are sequential, so its cost hardly grows with the number of entries: a heartbeat with all its events takes
/// 88 ns with 700 clients and 133 ns with 70,000, where a binary heap takes 289 and 871 (`benches/engines`).
#[derive(Debug)]
pub struct Calendar<E> {
    /// Time of the last event that left, in nanoseconds. Everything entered is at this time or later.
    last_ns: u64,
    len: usize,
    /// Entries at `last_ns`, in the order they were entered.
    due: VecDeque<E>,
    /// Bucket `b` has the entries whose time differs from `last_ns` in bit `b` and in none above it.
    buckets: Box<[Vec<(u64, E)>; 64]>,
    /// Bit `b` is set when bucket `b` has entries.
    occupied: u64,
}

impl<E> Default for Calendar<E> {
    fn default() -> Self {
        let buckets = Box::new(std::array::from_fn(|_| Vec::new()));
        Self { last_ns: 0, len: 0, due: VecDeque::new(), buckets, occupied: 0 }
    }
}

impl<E> Calendar<E> {
    /// Number of events to come.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is to come.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Enters an event. One whose time has passed happens now, after what is due already.
    pub fn enter(&mut self, at: Time, event: E) {
        self.len += 1;
        self.place(at.as_nanos().max(self.last_ns), event);
    }

    fn place(&mut self, at_ns: u64, event: E) {
        let differing = at_ns ^ self.last_ns;
        if differing == 0 {
            self.due.push_back(event);
            return;
        }
        let bucket = differing.ilog2();
        self.buckets[bucket as usize].push((at_ns, event));
        self.occupied |= 1 << bucket;
    }

    /// Takes out what happens next.
    pub fn take_next(&mut self) -> Option<(Time, E)> {
        let event = match self.due.pop_front() {
            Some(event) => event,
            None => self.take_from_lowest()?,
        };
        self.len -= 1;
        Some((Time::from_nanos(self.last_ns), event))
    }

    /// Moves the present to the earliest entry and takes it out; what happens at the same time is due then.
    fn take_from_lowest(&mut self) -> Option<E> {
        if self.occupied == 0 {
            return None;
        }
        let lowest = self.occupied.trailing_zeros() as usize;
        self.occupied &= !(1 << lowest);
        // Most often there is one.
        if let [_] = self.buckets[lowest][..] {
            let (at_ns, event) = self.buckets[lowest].pop()?;
            self.last_ns = at_ns;
            return Some(event);
        }
        let mut entries = std::mem::take(&mut self.buckets[lowest]);
        self.last_ns = entries.iter().map(|(at_ns, _)| *at_ns).min()?;
        for (at_ns, event) in entries.drain(..) {
            self.place(at_ns, event);
        }
        self.buckets[lowest] = entries; // empty, but its memory is kept
        self.due.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Enter(u64),
        Next,
    }

    fn step() -> impl Strategy<Value = Step> {
        // Gaps of every magnitude, and many that are equal.
        prop_oneof![
            (0u32..40, 0u64..4).prop_map(|(bits, low)| Step::Enter((1 << bits) - 1 + low)),
            Just(Step::Enter(0)),
            Just(Step::Next),
            Just(Step::Next),
        ]
    }

    proptest! {
        #[test]
        fn events_leave_by_time_and_then_by_age(steps in prop::collection::vec(step(), 0..400)) {
            let mut calendar = Calendar::default();
            let mut model: BTreeMap<(Time, u64), u64> = BTreeMap::new();
            let (mut now, mut entered) = (Time::ZERO, 0);
            for step in steps {
                match step {
                    Step::Enter(gap_ns) => {
                        let at = now + Duration::from_nanos(gap_ns);
                        calendar.enter(at, entered);
                        model.insert((at, entered), entered);
                        entered += 1;
                    }
                    Step::Next => {
                        let expected = model.pop_first().map(|((at, _), event)| (at, event));
                        prop_assert_eq!(calendar.take_next(), expected);
                        now = expected.map_or(now, |(at, _)| at);
                    }
                }
                prop_assert_eq!(calendar.len(), model.len());
            }
        }
    }

    #[test]
    fn what_is_late_happens_now() {
        let mut calendar = Calendar::default();
        calendar.enter(Time::from_origin(Duration::from_secs(2)), 'a');
        assert_eq!(calendar.take_next(), Some((Time::from_origin(Duration::from_secs(2)), 'a')));
        calendar.enter(Time::from_origin(Duration::from_secs(1)), 'b');
        assert_eq!(calendar.take_next(), Some((Time::from_origin(Duration::from_secs(2)), 'b')));
        assert!(calendar.is_empty() && calendar.take_next().is_none());
    }

    #[test]
    fn the_end_of_time_is_a_time() {
        let mut calendar = Calendar::default();
        let end = Time::from_nanos(u64::MAX);
        calendar.enter(end, 1);
        calendar.enter(end, 2);
        assert_eq!(calendar.take_next(), Some((end, 1)));
        assert_eq!(calendar.take_next(), Some((end, 2)));
    }
}
