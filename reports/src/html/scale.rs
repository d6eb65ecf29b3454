//! Scales: from figures to positions, with ticks where people expect them.

/// How an axis maps its figures to positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Evenly.
    Linear {
        /// First figure.
        from: f64,
        /// Last figure.
        to: f64,
    },
    /// By powers of ten; both ends above zero.
    Log {
        /// First figure.
        from: f64,
        /// Last figure.
        to: f64,
    },
}

impl Scale {
    /// An even scale from zero to a round figure that nothing exceeds.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(0.0, f64::max);
        if most <= 0.0 {
            return Self::Linear { from: 0.0, to: 1.0 };
        }
        let step = nice_step(most / 4.0);
        Self::Linear { from: 0.0, to: (most / step).ceil() * step }
    }

    /// A scale by powers of ten around all values above zero.
    pub(super) fn log_around(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| (least.min(value), most.max(value)));
        let least = least.min(most);
        // A full decade beyond the outermost points would waste half the picture: ends are at 1, 2 or 5 of one.
        let ends = |value: f64| [0.5, 1.0, 2.0, 5.0, 10.0].map(|lead| lead * 10_f64.powf(value.log10().floor()));
        let from = ends(least).into_iter().rev().find(|end| *end <= least).unwrap_or(least);
        let to = ends(most).into_iter().find(|end| *end >= most).unwrap_or(most);
        Self::Log { from, to: to.max(from * 4.0) }
    }

    /// Where a figure lies between the ends, as a share from 0 to 1.
    pub(super) fn share(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).log10() / (to / from).log10(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round figures to mark, at most about `most` of them.
    pub(super) fn ticks(self, most: usize) -> Vec<f64> {
        match self {
            Self::Linear { from, to } => {
                let step = nice_step((to - from) / most.max(1) as f64);
                multiples(step, from, to)
            }
            Self::Log { from, to } => {
                let decades: Vec<i32> = (from.log10().floor() as i32..=to.log10().floor() as i32).collect();
                let leads: &[f64] = if decades.len() * 3 <= most + 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let tick = |decade: &i32| leads.iter().map(|lead| lead * 10_f64.powi(*decade)).collect::<Vec<_>>();
                decades
                    .iter()
                    .flat_map(tick)
                    .filter(|tick| *tick >= from * 0.999_999 && *tick <= to * 1.000_001)
                    .collect()
            }
        }
    }

    /// Moments to mark on an axis of seconds, at steps that clocks have.
    pub(super) fn clock_ticks(self, most: usize) -> Vec<f64> {
        let Self::Linear { from, to } = self else { return self.ticks(most) };
        let least_step = (to - from) / most.max(1) as f64;
        let steps =
            [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0];
        let step = steps.into_iter().find(|step| *step >= least_step);
        multiples(step.unwrap_or_else(|| nice_step(least_step)), from, to)
    }
}

fn multiples(step: f64, from: f64, to: f64) -> Vec<f64> {
    let first = (from / step).ceil() as i64;
    let last = (to / step * 1.000_000_1).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `least`.
fn nice_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let decade = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|lead| lead * decade).into_iter().find(|step| *step >= least * 0.999_999);
    step.unwrap_or(decade * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(Scale::Linear { from: 0.0, to: 200.0 }.ticks(4), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!(Scale::Log { from: 1.0, to: 1000.0 }.ticks(4), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::Linear { from: 12.0, to: 130.0 }.clock_ticks(5), [30.0, 60.0, 90.0, 120.0]);
    }

    #[test]
    fn a_scale_holds_all_its_values_and_survives_none() {
        assert_eq!(Scale::from_zero([3.0, 171.0].into_iter()), Scale::Linear { from: 0.0, to: 200.0 });
        assert_eq!(Scale::from_zero([].into_iter()), Scale::Linear { from: 0.0, to: 1.0 });
        assert_eq!(Scale::log_around([3.0, 171.0].into_iter()), Scale::Log { from: 2.0, to: 200.0 });
        for scale in [Scale::log_around([].into_iter()), Scale::Linear { from: 1.0, to: 1.0 }] {
            assert!((0.0..=1.0).contains(&scale.share(5.0)) && scale.ticks(4).len() < 100);
        }
    }
}
