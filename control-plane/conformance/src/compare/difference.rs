//! The first difference between what two hypervisors said.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Lane;

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

/// Compares lane by lane.
pub(crate) fn first_difference(host: &str, real: &[Lane], simulated: &[Lane]) -> Option<Difference> {
    let found =
        |lane: &str, after, what| Some(Difference { host: host.to_owned(), because_of: lane.to_owned(), after, what });
    for (real, simulated) in pair(real, simulated) {
        let (Some(real), Some(simulated)) = (real, simulated) else {
            let (whose, lane) = match (real, simulated) {
                (Some(lane), _) => ("simulated", lane),
                (_, Some(lane)) => ("real", lane),
                _ => continue,
            };
            return found(&lane.name, 0, format!("the {whose} one has no part in it"));
        };
        let both = real.said.iter().zip(&simulated.said).enumerate();
        for (after, ((real_name, real_said), (name, said))) in both {
            if real_name != name {
                return found(&real.name, after, format!("{real_name} became {name}"));
            }
            if let Some(difference) = differs("", real_said, said) {
                return found(&real.name, after, format!("{name}: {difference}"));
            }
        }
        let after = real.said.len().min(simulated.said.len());
        match (real.said.get(after), simulated.said.get(after)) {
            (Some((name, _)), None) => return found(&real.name, after, format!("{name} is missing")),
            (None, Some((name, _))) => return found(&real.name, after, format!("{name} is too much")),
            _ => {}
        }
    }
    None
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
