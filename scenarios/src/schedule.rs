//! The schedule of a whole load: what an estimate of the time that is left goes by.

use std::time::Duration;

use crate::Plan;

/// Intended starts that are kept; a plan with more has no schedule, for the sake of memory.
const MOST: u64 = 1_000_000;

/// When each operation of a plan starts, counted from the beginning of the load, if operations took no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// The schedule of a plan; `None` when a stream has none, because it is a closed loop or waits for one.
    pub fn of(plan: &Plan) -> Option<Self> {
        let operations: Option<u64> = plan.load.iter().map(|load| load.operations(plan.seed)).sum();
        operations.filter(|operations| *operations <= MOST)?;
        let mut ends: Vec<(&str, Duration)> = Vec::new();
        let mut starts = Vec::new();
        for load in &plan.load {
            let end_of = |name| ends.iter().find(|(other, _)| *other == name).map(|(_, end)| *end);
            let begin = load.start + load.after.as_deref().map_or(Some(Duration::ZERO), end_of)?;
            let first = starts.len();
            starts.extend(load.intended_starts(plan.seed)?.map(|start| begin + start));
            ends.push((&load.name, starts[first..].last().copied().unwrap_or(begin)));
        }
        starts.sort_unstable();
        Some(Self(starts))
    }

    /// Time from the beginning of the load to its last intended start.
    pub fn takes(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// What is left of it when so many operations have started in so long: while the next one waits for others to end, the
    /// schedule stands still.
    pub fn left(&self, started: u64, since: Duration) -> Duration {
        let started = usize::try_from(started).unwrap_or(usize::MAX);
        let Some(next) = self.0.get(started) else { return Duration::ZERO };
        let last = started.checked_sub(1).map_or(Duration::ZERO, |last| self.0[last]);
        self.takes() - since.clamp(last, *next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_waits_for_a_cloud_that_does_not_keep_up() {
        let seconds = Duration::from_secs;
        let schedule = Schedule([10, 20, 60].map(seconds).to_vec());
        assert_eq!(schedule.takes(), seconds(60));
        assert_eq!(schedule.left(0, seconds(4)), seconds(56));
        assert_eq!(schedule.left(2, seconds(30)), seconds(30));
        assert_eq!(schedule.left(1, seconds(30)), seconds(40), "the second is late by ten seconds");
        assert_eq!(schedule.left(3, seconds(61)), Duration::ZERO);
    }

    #[test]
    fn streams_follow_one_another() {
        let text = "name = 'x'\ndescription = 'x'\n[fleet]\nhypervisors = 1\n\
                    [[load]]\noperation = 'boot'\narrivals = 'constant'\nrate = '1/s'\ncount = 3\nstart = '10s'\n\
                    [[load]]\noperation = 'delete'\nafter = 'boot'\nstart = '5s'\narrivals = 'constant'\nrate = '1/s'\ncount = 2\n";
        let source = crate::Source { name: "x.toml".to_owned(), text: text.to_owned() };
        let plan = crate::resolve(&source, &[], Some(1)).expect("it is right");
        let schedule = Schedule::of(&plan).expect("both streams are open loops");
        assert_eq!(schedule.0, [10, 11, 12, 17, 18].map(Duration::from_secs));
    }
}
