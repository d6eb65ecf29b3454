//! Distributions of time, as scenarios write them.
//!
//! Draws are the same on every machine: logarithm, exponential and cosine are those of `libm`, written in Rust, for the last digit
//! of an operating system's differs with the processor.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// How long something takes: a distribution, drawn from a seeded generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "distribution")]
pub enum Delay {
    /// Always the same.
    Constant {
        /// The time.
        value: Duration,
    },
    /// Any time between the two, equally likely.
    Uniform {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Exponential.
    Exponential {
        /// Mean.
        mean: Duration,
    },
    /// Log-normal, given by two of its quantiles, which people can measure.
    LogNormal {
        /// 50th percentile.
        median: Duration,
        /// 99th percentile.
        p99: Duration,
    },
}

/// z-value of the 99th percentile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874_040_841;

impl Default for Delay {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Delay {
    /// No time at all.
    pub const ZERO: Self = Self::Constant { value: Duration::ZERO };

    /// Draws a time.
    pub fn sample(&self, rng: &mut impl Rng) -> Duration {
        match self {
            Self::Constant { value } => *value,
            Self::Uniform { min, max } => *min + (max.saturating_sub(*min)).mul_f64(rng.random::<f64>()),
            Self::Exponential { mean } => mean.mul_f64(exponential(rng)),
            Self::LogNormal { median, p99 } => {
                if median.is_zero() {
                    return Duration::ZERO;
                }
                let sigma = libm::log((p99.as_secs_f64() / median.as_secs_f64()).max(1.0)) / Z_99;
                median.mul_f64(libm::exp(sigma * standard_normal(rng)))
            }
        }
    }
}

/// An exponential time with a mean of one.
pub fn exponential(rng: &mut impl Rng) -> f64 {
    -libm::log1p(-rng.random::<f64>())
}

/// Box and Muller's transform of two uniform numbers, one of the pair it makes.
fn standard_normal(rng: &mut impl Rng) -> f64 {
    let radius = libm::sqrt(2.0 * exponential(rng));
    radius * libm::cos(core::f64::consts::TAU * rng.random::<f64>())
}
