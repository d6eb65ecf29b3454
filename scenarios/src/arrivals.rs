//! When operations start: one iterator of intended starts for everything open-loop, and the closed loop beside it.
//!
//! An intended start is fixed by the plan and its seed. It never moves: an operation that the harness starts late is late,
//! and its latency counts from here.

use std::time::Duration;

use hypervisor::{Delay, exponential};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::{
    plan::{Arrivals, LoadPlan, Until},
    seed,
};

/// What rounding may take off a product of a rate and a time that is whole on paper (`0.1/s` for `30s` is 3).
const ROUNDING: f64 = 1e-9;

impl LoadPlan {
    /// Intended starts of the stream, counted from its beginning; `None` for a closed loop.
    pub fn intended_starts(&self, plan_seed: u64) -> Option<Times<Pcg64Mcg>> {
        self.arrivals.times(seed::generator(plan_seed, &format!("arrivals/{}", self.name)))
    }

    /// The closed loop of the stream; `None` for an open one.
    pub fn closed_loop(&self, plan_seed: u64) -> Option<ClosedLoop> {
        let Arrivals::Closed { users, think, until } = &self.arrivals else { return None };
        let rng = seed::generator(plan_seed, &format!("think/{}", self.name));
        Some(ClosedLoop { users: *users, think: think.clone(), until: *until, started: 0, rng })
    }

    /// How many operations the stream starts; `None` when only the run can tell (a closed loop that ends by time).
    pub fn operations(&self, plan_seed: u64) -> Option<u64> {
        match &self.arrivals {
            Arrivals::Constant { until: Until::Count(count), .. }
            | Arrivals::Poisson { until: Until::Count(count), .. }
            | Arrivals::Closed { until: Until::Count(count), .. } => Some(*count),
            Arrivals::Burst { size, times, .. } => Some(size * times),
            Arrivals::Closed { until: Until::Elapsed(_), .. } => None,
            Arrivals::Constant { .. } | Arrivals::Poisson { .. } | Arrivals::Ramp { .. } => {
                self.intended_starts(plan_seed).map(|starts| starts.count() as u64)
            }
        }
    }
}

impl Arrivals {
    /// Intended starts from the beginning of the stream, in order; `None` for a closed loop, whose starts depend on how
    /// long its operations take.
    ///
    /// Evenly spaced and Poisson arrivals: operation `i` of a constant rate starts at `i / rate`, a Poisson process
    /// begins with a gap. A ramp starts operation `i` when the integral of its rate reaches `i`. A stream that ends by
    /// time starts nothing at or after its end.
    pub fn times<R: Rng>(&self, rng: R) -> Option<Times<R>> {
        let (shape, until) = match *self {
            Self::Constant { rate_per_s, until } => (Shape::Even { rate_per_s }, until),
            Self::Poisson { rate_per_s, until } => (Shape::Poisson { rate_per_s, at_s: 0.0 }, until),
            Self::Ramp { from_per_s, to_per_s, duration } => {
                (Shape::Ramp { from_per_s, to_per_s, duration_s: duration.as_secs_f64() }, Until::Elapsed(duration))
            }
            Self::Burst { size, every, times } => (Shape::Burst { size, every }, Until::Count(size * times)),
            Self::Closed { .. } => return None,
        };
        Some(Times { limit: shape.limit(until), shape, until, index: 0, rng })
    }
}

/// Iterator of intended starts; see [`Arrivals::times`].
#[derive(Debug, Clone)]
pub struct Times<R> {
    shape: Shape,
    until: Until,
    /// Number of operations, where it is known beforehand.
    limit: u64,
    index: u64,
    rng: R,
}

#[derive(Debug, Clone)]
enum Shape {
    Even { rate_per_s: f64 },
    Poisson { rate_per_s: f64, at_s: f64 },
    Ramp { from_per_s: f64, to_per_s: f64, duration_s: f64 },
    Burst { size: u64, every: Duration },
}

impl Shape {
    fn limit(&self, until: Until) -> u64 {
        let Until::Elapsed(duration) = until else {
            let Until::Count(count) = until else { unreachable!("it is one of the two") };
            return count;
        };
        let integral = match self {
            Self::Even { rate_per_s } => rate_per_s * duration.as_secs_f64(),
            Self::Ramp { from_per_s, to_per_s, duration_s } => (from_per_s + to_per_s) / 2.0 * duration_s,
            Self::Poisson { .. } | Self::Burst { .. } => return u64::MAX,
        };
        (integral - ROUNDING * integral.max(1.0)).ceil().max(0.0) as u64
    }
}

impl<R: Rng> Iterator for Times<R> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.index >= self.limit {
            return None;
        }
        let index = self.index as f64;
        let at = match &mut self.shape {
            Shape::Even { rate_per_s } => Duration::from_secs_f64(index / *rate_per_s),
            Shape::Poisson { rate_per_s, at_s } => {
                *at_s += exponential(&mut self.rng) / *rate_per_s;
                Duration::from_secs_f64(*at_s)
            }
            Shape::Ramp { from_per_s, to_per_s, duration_s } => ramp_time(*from_per_s, *to_per_s, *duration_s, index),
            Shape::Burst { size, every } => multiply(*every, self.index / *size),
        };
        match (&self.shape, self.until) {
            (Shape::Poisson { .. }, Until::Elapsed(end)) if at >= end => {
                self.limit = self.index;
                return None;
            }
            _ => self.index += 1,
        }
        Some(at)
    }
}

/// The time at which a linear ramp has started `n` operations: the root of `from·t + (to − from)·t² / 2d = n`, in the
/// form that does not cancel.
fn ramp_time(from_per_s: f64, to_per_s: f64, duration_s: f64, n: f64) -> Duration {
    if n == 0.0 {
        return Duration::ZERO;
    }
    let slope = (to_per_s - from_per_s) / duration_s;
    let root = (from_per_s * from_per_s + 2.0 * slope * n).max(0.0).sqrt();
    Duration::from_secs_f64((2.0 * n / (from_per_s + root)).min(duration_s))
}

/// `Duration * u64`, which the standard library has for 32 bits only.
fn multiply(time: Duration, by: u64) -> Duration {
    let ns = time.as_nanos() * u128::from(by);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// Clients that each start an operation, wait for its end, think, and start the next.
#[derive(Debug, Clone)]
pub struct ClosedLoop {
    users: u32,
    think: Delay,
    until: Until,
    started: u64,
    rng: Pcg64Mcg,
}

impl ClosedLoop {
    /// Number of clients; each asks [`ClosedLoop::next_start`] for its own next start.
    pub fn users(&self) -> u32 {
        self.users
    }

    /// When a client starts its next operation, from the beginning of the stream: at once when it has done none
    /// (`None`), else a think time after its last one ended. `None`: the client is done.
    pub fn next_start(&mut self, last_ended: Option<Duration>) -> Option<Duration> {
        let at = match last_ended {
            None => Duration::ZERO,
            Some(ended) => ended + self.think.sample(&mut self.rng),
        };
        let over = match self.until {
            Until::Count(count) => self.started >= count,
            Until::Elapsed(end) => at >= end,
        };
        if over {
            return None;
        }
        self.started += 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(arrivals: &Arrivals, seed: u64) -> Vec<Duration> {
        arrivals.times(seed::generator(seed, "test")).expect("open loop").collect()
    }

    fn until() -> impl Strategy<Value = Until> {
        prop_oneof![
            (0u64..3000).prop_map(Until::Count),
            (0u64..60_000).prop_map(|ms| Until::Elapsed(Duration::from_millis(ms)))
        ]
    }

    fn open_loop() -> impl Strategy<Value = Arrivals> {
        let rate = 0.01f64..50.0;
        prop_oneof![
            (rate.clone(), until()).prop_map(|(rate_per_s, until)| Arrivals::Constant { rate_per_s, until }),
            (rate.clone(), until()).prop_map(|(rate_per_s, until)| Arrivals::Poisson { rate_per_s, until }),
            (0.0f64..50.0, rate, 1u64..60_000).prop_map(|(from_per_s, to_per_s, ms)| Arrivals::Ramp {
                from_per_s,
                to_per_s,
                duration: Duration::from_millis(ms)
            }),
            (1u64..50, 0u64..5000, 1u64..20).prop_map(|(size, ms, times)| Arrivals::Burst {
                size,
                every: Duration::from_millis(ms),
                times
            }),
        ]
    }

    proptest! {
        #[test]
        fn starts_are_in_order_and_repeatable(arrivals in open_loop(), seed: u64) {
            let starts = times(&arrivals, seed);
            prop_assert!(starts.is_sorted());
            prop_assert_eq!(&starts, &times(&arrivals, seed));
        }

        #[test]
        fn counts_and_ends_are_exact(arrivals in open_loop(), seed: u64) {
            let starts = times(&arrivals, seed);
            match arrivals {
                Arrivals::Constant { until: Until::Count(count), .. } | Arrivals::Poisson { until: Until::Count(count), .. } => {
                    prop_assert_eq!(starts.len() as u64, count);
                }
                Arrivals::Constant { until: Until::Elapsed(end), .. } | Arrivals::Poisson { until: Until::Elapsed(end), .. } => {
                    prop_assert!(starts.iter().all(|start| *start < end));
                }
                Arrivals::Ramp { from_per_s, to_per_s, duration } => {
                    let integral = (from_per_s + to_per_s) / 2.0 * duration.as_secs_f64();
                    prop_assert!((starts.len() as f64 - integral).abs() <= 1.0);
                    prop_assert!(starts.iter().all(|start| *start <= duration));
                }
                Arrivals::Burst { size, times, .. } => prop_assert_eq!(starts.len() as u64, size * times),
                Arrivals::Closed { .. } => unreachable!("open loops only"),
            }
        }

        #[test]
        fn a_ramp_follows_its_rate(from in 0.0f64..20.0, to in 0.1f64..20.0, seconds in 10u64..200) {
            let arrivals = Arrivals::Ramp { from_per_s: from, to_per_s: to, duration: Duration::from_secs(seconds) };
            let half_s = seconds as f64 / 2.0;
            let before = times(&arrivals, 1).iter().filter(|start| start.as_secs_f64() < half_s).count() as f64;
            let expected = (from + (from + to) / 2.0) / 2.0 * half_s;
            prop_assert!((before - expected).abs() <= 1.0, "{before} in the first half, {expected} expected");
        }

        #[test]
        fn a_poisson_process_keeps_its_mean_rate(rate_per_s in 0.1f64..100.0, seed: u64) {
            let count = 4000;
            let starts = times(&Arrivals::Poisson { rate_per_s, until: Until::Count(count) }, seed);
            let mean_gap_s = starts.last().expect("not empty").as_secs_f64() / count as f64;
            // The mean of 4,000 exponential gaps deviates by 1/√4000 = 1.6 % of itself; six times that does not happen.
            prop_assert!((mean_gap_s * rate_per_s - 1.0).abs() < 0.1);
        }
    }

    #[test]
    fn a_whole_number_of_gaps_ends_before_the_end() {
        let until = Until::Elapsed(Duration::from_secs(30));
        assert_eq!(times(&Arrivals::Constant { rate_per_s: 0.1, until }, 1).len(), 3);
        let ramp = Arrivals::Ramp { from_per_s: 0.0, to_per_s: 10.0, duration: Duration::from_secs(60) };
        assert_eq!(times(&ramp, 1).len(), 300);
    }

    #[test]
    fn a_poisson_stream_that_ends_by_time_keeps_its_rate() {
        let until = Until::Elapsed(Duration::from_secs(10_000));
        let count = times(&Arrivals::Poisson { rate_per_s: 2.0, until }, 7).len() as f64;
        assert!((count - 20_000.0).abs() < 6.0 * 20_000f64.sqrt(), "{count} arrivals");
    }

    #[test]
    fn streams_draw_from_seeds_of_their_own() {
        let plan = |name: &str| LoadPlan {
            name: name.to_owned(),
            operation: crate::plan::Operation::List,
            arrivals: Arrivals::Poisson { rate_per_s: 1.0, until: Until::Count(5) },
            start: Duration::ZERO,
            after: None,
            timeout: Duration::from_secs(60),
        };
        let starts = |name, seed| plan(name).intended_starts(seed).expect("open loop").collect::<Vec<_>>();
        assert_ne!(starts("boot", 1), starts("list", 1));
        assert_ne!(starts("boot", 1), starts("boot", 2));
    }

    #[test]
    fn a_closed_loop_waits_thinks_and_stops() {
        let think = Delay::Constant { value: Duration::from_secs(2) };
        let rng = seed::generator(1, "test");
        let mut two = ClosedLoop { users: 2, think, until: Until::Count(3), started: 0, rng };
        assert_eq!(two.next_start(None), Some(Duration::ZERO));
        assert_eq!(two.next_start(None), Some(Duration::ZERO));
        assert_eq!(two.next_start(Some(Duration::from_secs(5))), Some(Duration::from_secs(7)));
        assert_eq!(two.next_start(Some(Duration::from_secs(6))), None);
        two.until = Until::Elapsed(Duration::from_secs(10));
        assert_eq!(two.next_start(Some(Duration::from_secs(7))), Some(Duration::from_secs(9)));
        assert_eq!(two.next_start(Some(Duration::from_secs(8))), None);
    }
}
