//! The search for the largest size that holds.
//!
//! On a shared machine the same size holds now and breaks the next time. So no single trial moves a bound: the search keeps, for
//! every size, how probable it is that the edge lies there, given all trials so far, and tries the size from which it will know
//! most, whichever way that trial ends: the one after which, on average over both ways, what it believes is narrowest. Where trials
//! agree that is bisection; where they do not, sizes get as many trials as it takes. It ends when 95 % of what it believes lies as
//! close together as was asked.
//!
//! The share of trials that hold at size x is taken for a logistic curve of ln x: one half at the edge, with a steepness that is
//! not known either, and a few trials in a hundred that end the wrong way wherever they are (the psychometric function of Watson
//! and Pelli's QUEST, 1983).

mod document;

use serde::{Deserialize, Serialize};

pub use document::{EDGE, EDGE_PAGE, EdgeReport, Search, Trial, edge_json, edge_terminal, write_edge};

/// A size, tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The size.
    pub size: f64,
    /// Whether all gates held.
    pub held: bool,
}

/// What a search is to find out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// The size to begin with.
    pub from: f64,
    /// The largest size to try.
    pub to: f64,
    /// How close together the ends of the interval have to be: 0.1 for a tenth.
    pub within: f64,
    /// The most trials.
    pub most_trials: u32,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// This size is to be tried.
    Try(f64),
    /// The search is over.
    Over(End),
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The edge is known as closely as was asked.
    Found,
    /// The largest size holds: the edge lies beyond it.
    Beyond,
    /// The smallest size breaks: the edge lies before it.
    Before,
    /// The trials did not suffice to know the edge as closely.
    Undecided,
}

/// What is known of the edge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The largest size that held, with nothing broken at or below it.
    pub last_held: Option<f64>,
    /// The size at which one of two trials holds: the median of what is believed.
    pub edge: f64,
    /// Lower end of the interval that holds it with 95 % probability.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Where the edge may lie outside of the range: one doubling.
const MARGIN: f64 = std::f64::consts::LN_2;
/// Places in which the edge may lie, evenly spaced in ln x: so many within the interval that is asked for.
const PLACES_WITHIN: f64 = 10.0;
/// There are at least so many.
const FEWEST_PLACES: usize = 300;
/// Every so many places a size that may be tried.
const EACH: usize = 5;
/// How steep the curve may be: from 73 % to 50 % of trials hold within this part of a size.
const WIDTHS: [f64; 4] = [0.01, 0.03, 0.08, 0.2];
/// Places that are less probable than this decide nothing.
const NEGLIGIBLE: f64 = 1e-6;
/// Trials that end the wrong way wherever they are, for a reason that has nothing to do with size.
const LAPSES: f64 = 0.03;
/// Between these shares of the belief lie 95 % of it.
const LOW: f64 = 0.025;
const HIGH: f64 = 0.975;
/// Equal trials at an end of the range that settle it.
const SETTLED: usize = 3;

impl Question {
    /// What to do after these trials.
    pub fn next(&self, trials: &[Tried]) -> Next {
        let at = |size: f64, held: bool| trials.iter().filter(|trial| trial.size == size && trial.held == held).count();
        if at(self.to, true) >= SETTLED.max(2 * at(self.to, false)) {
            return Next::Over(End::Beyond);
        }
        if at(self.from, false) >= SETTLED.max(2 * at(self.from, true)) {
            return Next::Over(End::Before);
        }
        if trials.len() >= self.most_trials as usize {
            return Next::Over(End::Undecided);
        }
        let largest = trials.iter().filter(|trial| trial.held).map(|trial| trial.size).reduce(f64::max);
        if trials.iter().all(|trial| trial.held) {
            return Next::Try(largest.map_or(self.from, |size| (size * 2.0).min(self.to)));
        }
        if largest.is_none() {
            return Next::Try(self.from);
        }
        let belief = self.belief(trials);
        let [low, high] = [LOW, HIGH].map(|share| self.quantile(&belief, share));
        if high <= low * (1.0 + self.within) {
            return Next::Over(End::Found);
        }
        Next::Try(self.most_telling(&belief))
    }

    /// The size after whose trial the belief will be narrowest, on average over both of its ends.
    fn most_telling(&self, belief: &[[f64; WIDTHS.len()]]) -> f64 {
        let sizes = (0..belief.len()).step_by(EACH).map(|place| self.place(place).exp());
        let sizes = sizes.filter(|size| (self.from..=self.to).contains(size)).chain([self.from, self.to]);
        let spread_after = |size: f64| -> f64 {
            // Of both ends: probability, and its moments in ln x.
            let mut ends = [[0.0; 3]; 2];
            for (place, of_place) in belief.iter().enumerate() {
                let all: f64 = of_place.iter().sum();
                if all < NEGLIGIBLE {
                    continue;
                }
                let at = self.place(place);
                let held: f64 =
                    of_place.iter().zip(WIDTHS).map(|(belief, width)| belief * holds(size, at, width)).sum();
                for (end, share) in ends.iter_mut().zip([held, all - held]) {
                    for (moment, power) in end.iter_mut().zip([1.0, at, at * at]) {
                        *moment += share * power;
                    }
                }
            }
            // A variance each, weighed with how probable the end is.
            ends.iter().map(|[all, first, second]| second - first * first / all.max(f64::MIN_POSITIVE)).sum()
        };
        let spreads = sizes.map(|size| (size, spread_after(size)));
        spreads.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(self.from, |(size, _)| size)
    }

    /// What these trials say of the edge; `None` when there are none, and only what was believed before is left.
    pub fn estimate(&self, trials: &[Tried]) -> Option<Estimate> {
        if trials.is_empty() {
            return None;
        }
        let belief = self.belief(trials);
        let quantile = |share: f64| self.quantile(&belief, share);
        let broken = trials.iter().filter(|trial| !trial.held).map(|trial| trial.size).fold(f64::INFINITY, f64::min);
        let last_held = trials.iter().filter(|trial| trial.held && trial.size < broken).map(|trial| trial.size);
        Some(Estimate {
            last_held: last_held.reduce(f64::max),
            edge: quantile(0.5),
            low: quantile(LOW),
            high: quantile(HIGH),
        })
    }

    /// The size below which this share of the belief lies.
    fn quantile(&self, belief: &[[f64; WIDTHS.len()]], share: f64) -> f64 {
        let mut sum = 0.0;
        let place = belief.iter().position(|of_place| {
            sum += of_place.iter().sum::<f64>();
            sum >= share
        });
        self.place(place.unwrap_or(belief.len() - 1)).exp()
    }

    /// ln of the size at a place.
    fn place(&self, place: usize) -> f64 {
        let (from, range) = self.range();
        from + range * place as f64 / (self.places() - 1) as f64
    }

    /// ln of the smallest size that the edge may have, and how far the largest is from it.
    fn range(&self) -> (f64, f64) {
        let from = self.from.ln() - MARGIN;
        (from, self.to.ln() + MARGIN - from)
    }

    fn places(&self) -> usize {
        let (_, range) = self.range();
        let needed = range / self.within.ln_1p() * PLACES_WITHIN;
        FEWEST_PLACES.max(needed.ceil() as usize)
    }

    /// How probable each place and width of the edge is.
    fn belief(&self, trials: &[Tried]) -> Vec<[f64; WIDTHS.len()]> {
        let likelihood = |place: usize| {
            let edge = self.place(place);
            WIDTHS.map(|width| -> f64 {
                let of_trial = |trial: &Tried| {
                    let holds = holds(trial.size, edge, width);
                    if trial.held { holds } else { 1.0 - holds }
                };
                trials.iter().map(of_trial).product()
            })
        };
        let mut belief: Vec<[f64; WIDTHS.len()]> = (0..self.places()).map(likelihood).collect();
        let sum: f64 = belief.iter().flatten().sum();
        belief.iter_mut().flatten().for_each(|probability| *probability /= sum);
        belief
    }
}

/// How probable it is that a size holds, with the edge at a place (in ln x) and of a width.
fn holds(size: f64, edge: f64, width: f64) -> f64 {
    let holds = 1.0 / (1.0 + ((size.ln() - edge) / width).exp());
    LAPSES + (1.0 - 2.0 * LAPSES) * holds
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const HOSTS: Question = Question { from: 100.0, to: 10_000.0, within: 0.1, most_trials: 60 };

    fn search(question: Question, mut holds: impl FnMut(f64) -> bool) -> (Vec<Tried>, End) {
        let mut trials = Vec::new();
        loop {
            match question.next(&trials) {
                Next::Try(size) => {
                    let size = size.round();
                    trials.push(Tried { size, held: holds(size) });
                }
                Next::Over(end) => return (trials, end),
            }
        }
    }

    #[test]
    fn an_edge_without_noise_is_found_in_a_few_trials() {
        let (trials, end) = search(HOSTS, |size| size <= 1_337.0);
        let Estimate { last_held, low, high, .. } = HOSTS.estimate(&trials).expect("there are trials");
        assert_eq!(end, End::Found);
        assert!(low <= 1_337.0 && 1_337.0 <= high && high <= low * 1.1, "{low} to {high}");
        assert!(last_held.is_some_and(|held| held <= 1_337.0 && held >= low / 1.1), "{last_held:?}");
        assert!(trials.len() <= 20, "{} trials", trials.len());
    }

    #[test]
    fn what_never_breaks_or_always_does_is_told() {
        let (trials, end) = search(HOSTS, |_| true);
        assert_eq!((end, HOSTS.estimate(&trials).expect("there are trials").last_held), (End::Beyond, Some(10_000.0)));
        let (trials, end) = search(HOSTS, |_| false);
        assert_eq!(
            (end, trials.len(), HOSTS.estimate(&trials).expect("there are trials").last_held),
            (End::Before, 3, None)
        );
        let few = Question { most_trials: 9, ..HOSTS };
        assert_eq!(search(few, |size| size <= 1_337.0).1, End::Undecided);
    }

    /// Of searches on a noisy machine nineteen in twenty have the edge in their interval.
    #[test]
    fn the_interval_is_as_sure_as_it_says() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let (mut inside, mut trials_of_all) = (0, 0);
        let noisy = Question { within: 0.25, ..HOSTS };
        for _ in 0..60 {
            let edge = (5.0 + 3.5 * rng.random::<f64>()).exp();
            let (trials, _) = search(noisy, |size| {
                let holds = 1.0 / (1.0 + ((size / edge).ln() / 0.08).exp());
                rng.random::<f64>() < holds
            });
            let Estimate { low, high, .. } = noisy.estimate(&trials).expect("there are trials");
            inside += usize::from(low <= edge && edge <= high);
            trials_of_all += trials.len();
        }
        assert!(inside >= 54, "the edge was inside {inside} of 60 intervals, after {trials_of_all} trials in all");
        assert!(trials_of_all <= 60 * 30, "{trials_of_all} trials in all");
    }
}
