//! The first difference between what two hypervisors said.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EVENT, Lane};

/// The first thing that one said and the other did not, or said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which of the two hypervisors: `source` or `destination`.
    pub host: String,
    /// The RPC that made them speak.
    pub because_of: String,
    /// How many messages and requests before it were the same.
    pub after: usize,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, because_of, after, what } = self;
        write!(f, "{host}, {because_of}, after {after}: {what}")
    }
}

/// Compares lane by lane: everything that only one said, or that was said otherwise, in the order of the real one.
pub(crate) fn differences(host: &str, real: &[Lane], simulated: &[Lane]) -> Vec<Difference> {
    pair(real, simulated).into_iter().flat_map(|(real, simulated)| in_lane(host, real, simulated)).collect()
}

fn in_lane(host: &str, real: Option<&Lane>, simulated: Option<&Lane>) -> Vec<Difference> {
    let found =
        |lane: &str, after, what| Difference { host: host.to_owned(), because_of: lane.to_owned(), after, what };
    let (real, simulated) = match (real, simulated) {
        (Some(real), Some(simulated)) => (real, simulated),
        // When Neutron speaks, and of how much at once, is chance: what it leads to is compared where both heard the same.
        (Some(lane), None) | (None, Some(lane)) if lane.name.starts_with(EVENT) => return Vec::new(),
        (Some(lane), None) if !lane.said.is_empty() => {
            return vec![found(&lane.name, 0, format!("{} are all missing", named(lane)))];
        }
        (None, Some(lane)) if !lane.said.is_empty() => {
            return vec![found(&lane.name, 0, format!("{} are all too much", named(lane)))];
        }
        // An RPC that leads to nothing is as if it had not come.
        _ => return Vec::new(),
    };
    let told = aligned(&real.said, &simulated.said).into_iter().filter_map(|pair| match pair {
        (Some(at), Some(its)) => {
            let (name, said) = &simulated.said[its];
            let what = differs("", &real.said[at].1, said)?;
            Some(found(&real.name, at, format!("{name}: {what}")))
        }
        (Some(at), None) => Some(found(&real.name, at, format!("{} is missing", real.said[at].0))),
        (None, Some(its)) => Some(found(&real.name, its, format!("{} is too much", simulated.said[its].0))),
        (None, None) => None,
    });
    told.collect()
}

fn named(lane: &Lane) -> String {
    lane.said.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

type Said = (String, Value);

/// Which message of the one goes with which of the other: the longest common subsequence of their names.
fn aligned(real: &[Said], simulated: &[Said]) -> Vec<(Option<usize>, Option<usize>)> {
    let (rows, columns) = (real.len(), simulated.len());
    let mut longest = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            longest[row][column] = match real[row].0 == simulated[column].0 {
                true => longest[row + 1][column + 1] + 1,
                false => longest[row + 1][column].max(longest[row][column + 1]),
            };
        }
    }
    let (mut row, mut column, mut pairs) = (0, 0, Vec::with_capacity(rows.max(columns)));
    while row < rows || column < columns {
        if row < rows && column < columns && real[row].0 == simulated[column].0 {
            pairs.push((Some(row), Some(column)));
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && longest[row + 1][column] >= longest[row][column + 1]) {
            pairs.push((Some(row), None));
            row += 1;
        } else {
            pairs.push((None, Some(column)));
            column += 1;
        }
    }
    pairs
}

/// Lanes of the same name go together, first with first.
fn pair<'a>(real: &'a [Lane], simulated: &'a [Lane]) -> Vec<(Option<&'a Lane>, Option<&'a Lane>)> {
    let mut left: Vec<&Lane> = simulated.iter().collect();
    let mut pairs = Vec::new();
    for lane in real {
        let partner = left.iter().position(|candidate| candidate.name == lane.name).map(|at| left.remove(at));
        pairs.push((Some(lane), partner));
    }
    pairs.extend(left.into_iter().map(|lane| (None, Some(lane))));
    pairs
}

/// Path and values of the first place where two documents differ.
fn differs(path: &str, real: &Value, simulated: &Value) -> Option<String> {
    match (real, simulated) {
        (Value::Object(real), Value::Object(simulated)) => {
            let keys: std::collections::BTreeSet<&String> = real.keys().chain(simulated.keys()).collect();
            keys.into_iter().find_map(|key| {
                let path = format!("{path}/{key}");
                match (real.get(key), simulated.get(key)) {
                    (Some(real), Some(simulated)) => differs(&path, real, simulated),
                    (Some(real), None) => Some(format!("{path} is missing, {}", short(real))),
                    (None, simulated) => simulated.map(|value| format!("{path} is too much, {}", short(value))),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(index, (a, b))| differs(&format!("{path}/{index}"), a, b))
        }
        _ if real == simulated => None,
        _ => Some(format!("{path}: {} became {}", short(real), short(simulated))),
    }
}

fn short(value: &Value) -> String {
    const LONGEST: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lane(said: &[(&str, Value)]) -> Lane {
        let said = said.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Lane { name: "stop_instance".to_owned(), said }
    }

    fn told(real: &Lane, simulated: &Lane) -> Vec<String> {
        let found = differences("source", std::slice::from_ref(real), std::slice::from_ref(simulated));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_is_no_difference() {
        let one = lane(&[("Instance.save", json!({"a": 1}))]);
        assert!(told(&one, &one).is_empty());
    }

    #[test]
    fn a_missing_message_does_not_hide_what_comes_after_it() {
        let real = lane(&[("a", json!(1)), ("b", json!(2)), ("c", json!({"x": [1, 2]}))]);
        let simulated = lane(&[("a", json!(1)), ("c", json!({"x": [1, 3]})), ("d", json!(4))]);
        assert_eq!(told(&real, &simulated), [
            "source, stop_instance, after 1: b is missing",
            "source, stop_instance, after 2: c: /x/1: 2 became 3",
            "source, stop_instance, after 2: d is too much",
        ]);
    }

    #[test]
    fn a_lane_that_only_one_has_is_told_once() {
        let real = lane(&[("a", json!(1)), ("b", json!(2))]);
        let found = differences("source", &[real], &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "a, b are all missing");
        assert!(differences("source", &[], &[lane(&[])]).is_empty(), "an RPC that leads to nothing says nothing");
    }
}
