//! Time series made ready for a picture: few enough points, rates of counters, stacks.

use recording::{Points, Recording};

use super::chart::{Layer, Shape};
pub(super) use crate::analysis::{between, mean};

/// Buckets that a line over the page's width is thinned to; more could not be told apart.
const BUCKETS: usize = 180;

/// Colour classes in the order they are given out.
pub(super) const CLASSES: [&str; 7] = ["c1", "c2", "c3", "c4", "c5", "c6", "c7"];

/// The class of what is left over.
pub(super) const REST: &str = "c8";

/// Points from milliseconds to seconds, thinned so that of each bucket the least and the most survive: no dip and no
/// peak is lost.
pub(super) fn line(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = points.iter().map(|(t_ms, value)| (t_ms / 1e3, *value)).collect();
    if points.len() <= 2 * BUCKETS {
        return points;
    }
    let mut thinned = Vec::with_capacity(2 * BUCKETS);
    for bucket in points.chunks(points.len().div_ceil(BUCKETS)) {
        let least = bucket.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let most = bucket.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut ends: Vec<(f64, f64)> = least.into_iter().chain(most).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        thinned.extend(ends);
    }
    thinned
}

/// A metric without instances as one layer.
pub(super) fn metric(recording: &Recording, metric: &str, name: &str, class: &'static str, shape: Shape) -> Layer {
    Layer::new(name, class, shape, line(recording.series.points(metric, "")))
}

/// Piles series up into areas on a common grid: those of the ranking in its order, with its colours, the first at the
/// bottom; all others together on top.
pub(super) fn stack(series: Vec<(String, Points)>, ranking: &[String]) -> Vec<Layer> {
    let ends = series.iter().filter_map(|(_, points)| Some((points.first()?.0, points.last()?.0)));
    let Some((from, to)) = ends.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))) else { return Vec::new() };
    let cells = series.iter().map(|(_, points)| points.len()).max().unwrap_or(0).clamp(2, BUCKETS);
    let moments: Vec<f64> = (0..cells).map(|cell| from + (to - from) * cell as f64 / (cells - 1) as f64).collect();
    let mut floor = vec![0.0; cells];
    let mut layer = |name: String, class, members: &[&Points]| {
        let height = |t_ms: f64| members.iter().map(|points| value_at(points, t_ms)).sum::<f64>();
        let roof: Vec<f64> = floor.iter().zip(&moments).map(|(low, t_ms)| low + height(*t_ms)).collect();
        let points = moments.iter().map(|t_ms| t_ms / 1e3).zip(roof.iter().copied()).collect();
        let mut layer = Layer::new(name, class, Shape::Area, points);
        layer.floor = std::mem::replace(&mut floor, roof);
        layer
    };
    let mut layers = Vec::new();
    for (name, class) in ranking.iter().zip(CLASSES) {
        if let Some((_, points)) = series.iter().find(|(member, _)| member == name) {
            layers.push(layer(name.clone(), class, &[points]));
        }
    }
    let rest: Vec<&Points> =
        series.iter().filter(|(name, _)| !ranking.contains(name)).map(|(_, points)| points).collect();
    if !rest.is_empty() {
        let others = if rest.len() == 1 { "1 other".to_owned() } else { format!("{} others", rest.len()) };
        layers.push(layer(others, REST, &rest));
    }
    layers
}

/// The value between two points, on the straight line; zero before the first and after the last.
fn value_at(points: &[(f64, f64)], t_ms: f64) -> f64 {
    let after = points.partition_point(|point| point.0 < t_ms);
    match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
        (_, Some((t, value))) if *t == t_ms => *value,
        (Some((t0, v0)), Some((t1, v1))) => v0 + (v1 - v0) * (t_ms - t0) / (t1 - t0),
        _ => 0.0,
    }
}

/// Adds up series of one group on the moments of all of them.
pub(super) fn add_up(members: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    if let [only] = members {
        return only.clone();
    }
    let mut moments: Vec<f64> = members.iter().flatten().map(|point| point.0).collect();
    moments.sort_by(f64::total_cmp);
    moments.dedup();
    moments.into_iter().map(|t_ms| (t_ms, members.iter().map(|points| value_at(points, t_ms)).sum())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_one_dip() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|t| (f64::from(t) * 1e3, 200.0)).collect();
        points[7_777].1 = 3.0;
        let thinned = line(&points);
        assert!(thinned.len() <= 2 * BUCKETS && thinned.contains(&(7_777.0, 3.0)));
    }

    #[test]
    fn a_stack_ends_at_the_sum() {
        let flat = |value: f64| vec![(0.0, value), (1000.0, value)];
        let series: Vec<(String, Points)> = (1..=10).map(|size| (format!("s{size}"), flat(f64::from(size)))).collect();
        let layers = stack(series, &["s10".into(), "absent".into(), "s4".into()]);
        let names: Vec<(&str, &str)> = layers.iter().map(|layer| (layer.name.as_str(), layer.class)).collect();
        assert_eq!(names, [("s10", "c1"), ("s4", "c3"), ("8 others", "c8")]);
        assert_eq!(layers[2].points.last(), Some(&(1.0, 55.0)));
        assert!(stack(Vec::new(), &[]).is_empty());
    }
}
