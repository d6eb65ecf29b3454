//! A processor that several jobs share.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use hypervisor::Time;

use super::{Alarm, Ring};

/// Fixed-point fraction of a nanosecond of work.
const FRACTION: u64 = 1 << 10;

/// The cores of one machine, shared equally: each of `n` runnable jobs gets a whole core while there are enough, and
/// `cores/n` of one when there are not (M/G/c processor sharing, what a fair scheduler of an operating system comes to).
///
/// While there are enough cores a job ends when it ends, whatever others do: each has its own entry in the calendar. When there
/// are not, work is counted in a time of its own that passes at the rate at which each job is served, so that a job that comes
/// or goes changes one number and not the end of every other job; then the processor has one entry, for the next end.
/// Times are whole nanoseconds; shared work is kept to a thousandth of one.
#[derive(Debug)]
pub struct Processor<J> {
    cores: u64,
    /// The moment that `busy_ns` and `served` are of.
    since: Time,
    /// Core-nanoseconds of work done.
    busy_ns: u64,
    /// Jobs with a core each, when they have; places that are free are listed in `free`.
    own: Vec<Place<J>>,
    free: Vec<u16>,
    running: u64,
    /// Jobs that share, in order of their end. While there are any, all jobs do.
    shared: BinaryHeap<Reverse<Sharing<J>>>,
    /// Work that a job would have got that has shared since the beginning, in fractions of nanoseconds.
    served: u64,
    alarm: Alarm,
    started: u64,
}

/// What an entry in the calendar is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The end of one job, unless it has come to share its core meanwhile.
    Job {
        /// Its place.
        place: u16,
        /// Told from others that had the place.
        generation: u16,
    },
    /// The next end among jobs that share.
    Next,
}

/// Enters something in the calendar.
pub type Enter<'a> = dyn FnMut(Time, Wake) + 'a;

#[derive(Debug)]
struct Place<J> {
    generation: u16,
    job: Option<(Time, J)>,
}

#[derive(Debug)]
struct Sharing<J> {
    /// Value of `served` at which it ends.
    ends_at: u64,
    /// Jobs that end together end in the order they began.
    number: u64,
    job: J,
}

impl<J> PartialEq for Sharing<J> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<J> Eq for Sharing<J> {}

impl<J> PartialOrd for Sharing<J> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for Sharing<J> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.ends_at, self.number).cmp(&(other.ends_at, other.number))
    }
}

impl<J: Copy> Processor<J> {
    /// A processor with this many cores: at least one, at most 65,535.
    pub fn new(cores: u32) -> Self {
        Self {
            cores: u64::from(cores.clamp(1, u32::from(u16::MAX))),
            since: Time::ZERO,
            busy_ns: 0,
            own: Vec::new(),
            free: Vec::new(),
            running: 0,
            shared: BinaryHeap::new(),
            served: 0,
            alarm: Alarm::default(),
            started: 0,
        }
    }

    /// Jobs that run or share.
    pub fn jobs(&self) -> u64 {
        self.running + self.shared.len() as u64
    }

    /// Work done until `now`, over all cores.
    pub fn busy(&mut self, now: Time) -> Duration {
        self.advance(now);
        Duration::from_nanos(self.busy_ns)
    }

    /// A job begins that would take `work` on a core of its own.
    pub fn start(&mut self, now: Time, work: Duration, job: J, enter: &mut Enter<'_>) {
        self.advance(now);
        if self.shared.is_empty() {
            if self.running < self.cores {
                self.run(now + work, job, enter);
                return;
            }
            self.begin_to_share(now);
        }
        self.share(nanoseconds(work), job);
        self.set_alarm(enter);
    }

    /// An entry has come up. Gives a job that has ended. A [`Wake::Next`] may end several: asked again until it gives none.
    pub fn wake(&mut self, now: Time, wake: Wake, enter: &mut Enter<'_>) -> Option<J> {
        match wake {
            Wake::Job { place, generation } => self.end_of(now, place, generation),
            Wake::Next => self.end_of_sharing(now, enter),
        }
    }

    /// A job with a core of its own.
    fn run(&mut self, end: Time, job: J, enter: &mut Enter<'_>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.own.push(Place { generation: 0, job: None });
            u16::try_from(self.own.len() - 1).expect("no more jobs run than there are cores")
        });
        let of = &mut self.own[usize::from(place)];
        of.job = Some((end, job));
        self.running += 1;
        enter(end, Wake::Job { place, generation: of.generation });
    }

    fn end_of(&mut self, now: Time, place: u16, generation: u16) -> Option<J> {
        let of = &mut self.own[usize::from(place)];
        if of.generation != generation {
            return None;
        }
        let (_, job) = of.job.take()?;
        self.advance(now);
        self.leave(place);
        Some(job)
    }

    fn leave(&mut self, place: u16) {
        let of = &mut self.own[usize::from(place)];
        of.generation = of.generation.wrapping_add(1);
        self.free.push(place);
        self.running -= 1;
    }

    /// There are more jobs than cores: those that run have to share.
    fn begin_to_share(&mut self, now: Time) {
        for place in 0..self.own.len() {
            if let Some((end, job)) = self.own[place].job.take() {
                self.leave(u16::try_from(place).expect("places are numbered so"));
                self.share(nanoseconds(end - now), job);
            }
        }
    }

    fn share(&mut self, work_ns: u64, job: J) {
        let ends_at = self.served.saturating_add(work_ns.saturating_mul(FRACTION));
        self.started += 1;
        self.shared.push(Reverse(Sharing { ends_at, number: self.started, job }));
    }

    fn end_of_sharing(&mut self, now: Time, enter: &mut Enter<'_>) -> Option<J> {
        match self.alarm.ring(now) {
            Ring::Later(at) => {
                enter(at, Wake::Next);
                return None;
            }
            // An entry that an earlier one has replaced. To look at the work done would round it, and to set the alarm again
            // would enter another that is as useless. At the present moment it may be the same entry, asked again.
            Ring::Stale if self.since < now => return None,
            Ring::Stale | Ring::Now => {}
        }
        self.advance(now);
        let ended = self.shared.peek().is_some_and(|Reverse(first)| first.ends_at <= self.served);
        if ended {
            return self.shared.pop().map(|Reverse(sharing)| sharing.job);
        }
        if (self.shared.len() as u64) * 2 <= self.cores {
            self.end_to_share(now, enter);
        }
        self.set_alarm(enter);
        None
    }

    /// There are cores enough, with some to spare: each job gets its own. One to spare would have them change all the time.
    fn end_to_share(&mut self, now: Time, enter: &mut Enter<'_>) {
        while let Some(Reverse(Sharing { ends_at, job, .. })) = self.shared.pop() {
            let left_ns = ends_at.saturating_sub(self.served).div_ceil(FRACTION);
            self.run(now + Duration::from_nanos(left_ns), job, enter);
        }
    }

    fn set_alarm(&mut self, enter: &mut Enter<'_>) {
        if let Some(at) = self.alarm.set(self.next_shared_end()) {
            enter(at, Wake::Next);
        }
    }

    /// When the next of those that share ends if none comes before.
    fn next_shared_end(&self) -> Option<Time> {
        let Reverse(first) = self.shared.peek()?;
        let left = first.ends_at.saturating_sub(self.served);
        let sharing = self.shared.len() as u64;
        // Rounded up: an alarm that rings before the job's end would ring for nothing.
        let left_ns = if sharing <= self.cores {
            left.div_ceil(FRACTION)
        } else {
            let wide = u128::from(left) * u128::from(sharing);
            u64::try_from(wide.div_ceil(u128::from(self.cores * FRACTION))).unwrap_or(u64::MAX)
        };
        Some(self.since + Duration::from_nanos(left_ns))
    }

    fn advance(&mut self, now: Time) {
        let passed_ns = now.as_nanos().saturating_sub(self.since.as_nanos());
        if passed_ns == 0 {
            return;
        }
        self.since = now;
        let sharing = self.shared.len() as u64;
        self.busy_ns += passed_ns * (self.running + sharing).min(self.cores);
        if sharing == 0 {
            return;
        }
        self.served += if sharing <= self.cores {
            passed_ns * FRACTION
        } else {
            let wide = u128::from(passed_ns) * u128::from(self.cores * FRACTION) / u128::from(sharing);
            u64::try_from(wide).unwrap_or(u64::MAX)
        };
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Calendar;

    fn ms(ms: u64) -> Time {
        Time::from_origin(Duration::from_millis(ms))
    }

    /// Runs jobs (start and work in milliseconds) and tells when each ended.
    fn run(cores: u32, jobs: &[(char, u64, u64)]) -> (Vec<(char, Time)>, Duration) {
        enum Event {
            Start(char, u64),
            Wake(Wake),
        }
        let mut processor = Processor::new(cores);
        let mut calendar = Calendar::default();
        for (job, start_ms, work_ms) in jobs {
            calendar.enter(ms(*start_ms), Event::Start(*job, *work_ms));
        }
        let (mut ended, mut last) = (Vec::new(), Time::ZERO);
        while let Some((now, event)) = calendar.take_next() {
            last = now;
            let mut enter = |at, wake| calendar.enter(at, Event::Wake(wake));
            match event {
                Event::Start(job, work_ms) => {
                    processor.start(now, Duration::from_millis(work_ms), job, &mut enter);
                }
                Event::Wake(wake) => {
                    while let Some(job) = processor.wake(now, wake, &mut enter) {
                        ended.push((job, now));
                    }
                }
            }
        }
        (ended, processor.busy(last))
    }

    #[test]
    fn a_core_each_while_there_are_enough() {
        let (ended, busy) = run(2, &[('a', 0, 30), ('b', 0, 10)]);
        assert_eq!(ended, [('b', ms(10)), ('a', ms(30))]);
        assert_eq!(busy, Duration::from_millis(40));
    }

    #[test]
    fn equal_shares_when_there_are_not() {
        // `a` has 5 ms left at 5 ms and gets half a core from there; `b` has 15 left at 15.
        let (ended, busy) = run(1, &[('a', 0, 10), ('b', 5, 20)]);
        assert_eq!(ended, [('a', ms(15)), ('b', ms(30))]);
        assert_eq!(busy, Duration::from_millis(30));
    }

    #[test]
    fn sharing_begins_and_ends() {
        // Four cores, five jobs from 0 to 10 ms of which four are short: each gets 4/5 until the short ones end at 5 ms, having
        // done 4 ms; then the long one runs alone with 16 ms left, and later jobs have cores of their own.
        let jobs = [('a', 0, 4), ('b', 0, 4), ('c', 0, 4), ('d', 0, 4), ('e', 0, 20), ('f', 6, 1), ('g', 10, 30)];
        let (ended, busy) = run(4, &jobs);
        let expected =
            [('a', ms(5)), ('b', ms(5)), ('c', ms(5)), ('d', ms(5)), ('f', ms(7)), ('e', ms(21)), ('g', ms(40))];
        assert_eq!(ended, expected);
        assert_eq!(busy, Duration::from_millis(16 + 20 + 1 + 30));
    }

    #[test]
    fn jobs_without_work_end_at_once_and_in_order() {
        let (ended, _) = run(1, &[('a', 1, 0), ('b', 1, 0), ('c', 1, 0)]);
        assert_eq!(ended, [('a', ms(1)), ('b', ms(1)), ('c', ms(1))]);
    }

    /// Thousands of jobs on a few cores, each followed by another: entries in the calendar stay in proportion to jobs.
    #[test]
    fn a_crowd_costs_no_more_entries_than_jobs() {
        enum Event {
            Start(u64),
            Wake(Wake),
        }
        let mut processor = Processor::new(8);
        let mut calendar = Calendar::default();
        for job in 0..20_000 {
            calendar.enter(Time::from_nanos(job * 3), Event::Start(job));
        }
        let (mut events, mut ended) = (0_u64, 0_u64);
        while let Some((now, event)) = calendar.take_next() {
            events += 1;
            let mut enter = |at, wake| calendar.enter(at, Event::Wake(wake));
            match event {
                Event::Start(job) => {
                    processor.start(now, Duration::from_nanos(1000 + job * 7919 % 100_003), job, &mut enter);
                }
                Event::Wake(wake) => {
                    while processor.wake(now, wake, &mut enter).is_some() {
                        ended += 1;
                    }
                }
            }
            assert!(events < 20 * 20_000, "{ended} of 20,000 jobs have ended");
        }
        assert_eq!(ended, 20_000);
    }
}
