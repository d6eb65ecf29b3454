//! Random choices of the model, the same on every machine.

use rand::RngCore;
use rand_pcg::Pcg64Mcg;

/// Cells of a shape's table.
const CELLS: usize = 1 << 10;
/// z-value of the 99th percentile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874_040_841;

/// The form of a distribution of times, around a mean of one: a table of quantiles.
///
/// A draw takes one random number and no transcendental function, whose last digit differs between machines; the table is made
/// with `libm`, whose does not.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Quantiles at `0/CELLS … CELLS/CELLS`, the last of them at the middle of the last cell.
    quantiles: Vec<f64>,
}

impl Shape {
    /// Always the mean.
    pub fn constant() -> Self {
        Self { quantiles: vec![1.0; CELLS + 1] }
    }

    /// Exponential.
    pub fn exponential() -> Self {
        Self::from_quantiles(|p| -libm::log1p(-p))
    }

    /// Log-normal, by how far its 99th percentile lies above its median.
    pub fn log_normal(p99_over_median: f64) -> Self {
        let sigma = libm::log(p99_over_median.max(1.0)) / Z_99;
        Self::from_quantiles(|p| libm::exp(sigma * normal_quantile(p)))
    }

    /// Samples the quantile function in the middle of many cells; what the ends lose of the mean is given back to all.
    fn from_quantiles(quantile: impl Fn(f64) -> f64) -> Self {
        let cells = CELLS as f64;
        let first = quantile(0.25 / cells);
        let last = quantile(1.0 - 0.25 / cells);
        let mut quantiles = vec![first];
        quantiles.extend((1..CELLS).map(|cell| quantile(cell as f64 / cells)));
        quantiles.push(last);
        let trapezoids: f64 = quantiles.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])).sum();
        let mean = trapezoids / cells;
        Self { quantiles: quantiles.into_iter().map(|q| q / mean).collect() }
    }

    /// Draws a multiple of the mean.
    pub fn draw(&self, rng: &mut Pcg64Mcg) -> f64 {
        let bits = rng.next_u64();
        let cell = (bits >> 54) as usize;
        let within = ((bits >> 22) & 0xffff_ffff) as f64 / 4_294_967_296.0;
        let (low, high) = (self.quantiles[cell], self.quantiles[cell + 1]);
        low + (high - low) * within
    }
}

/// Quantile of the standard normal distribution: Newton's method on `erfc`, for tables only.
fn normal_quantile(p: f64) -> f64 {
    let cdf = |z: f64| 0.5 * libm::erfc(-z / core::f64::consts::SQRT_2);
    let density = |z: f64| libm::exp(-z * z / 2.0) / libm::sqrt(2.0 * core::f64::consts::PI);
    let mut z = 0.0;
    for _ in 0..60 {
        let step = ((cdf(z) - p) / density(z)).clamp(-1.0, 1.0);
        z -= step;
        if step.abs() < 1e-13 {
            break;
        }
    }
    z
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn sample(shape: &Shape) -> (f64, f64, f64) {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let mut draws: Vec<f64> = (0..200_000).map(|_| shape.draw(&mut rng)).collect();
        draws.sort_by(f64::total_cmp);
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        (mean, draws[draws.len() / 2], draws[draws.len() * 99 / 100])
    }

    #[test]
    fn every_shape_has_a_mean_of_one() {
        for shape in [Shape::constant(), Shape::exponential(), Shape::log_normal(4.0)] {
            let (mean, ..) = sample(&shape);
            assert!((mean - 1.0).abs() < 0.01, "{mean}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_distribution() {
        let (_, median, p99) = sample(&Shape::exponential());
        assert!((median - 0.693).abs() < 0.01 && (p99 - 4.605).abs() < 0.1, "{median} {p99}");
        let (_, median, p99) = sample(&Shape::log_normal(4.0));
        assert!((p99 / median - 4.0).abs() < 0.1, "{}", p99 / median);
    }

    #[test]
    fn the_normal_quantile_is_the_inverse_of_the_distribution() {
        for (p, z) in [(0.5, 0.0), (0.99, Z_99), (0.001, -3.090_232_306_167_813_5)] {
            assert!((normal_quantile(p) - z).abs() < 1e-9);
        }
    }
}
