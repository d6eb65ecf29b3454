//! Operation by operation: identical, or the first difference.

use serde::{Deserialize, Serialize};

use crate::{
    compare::{Difference, EVENT, Lane, Names, connections, differences, lanes},
    run::{Recorded, START_UP},
    scene::Variation,
};

/// What came of comparing one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The operation.
    pub name: String,
    /// Whether both kinds of hypervisors said the same.
    pub identical: bool,
    /// What was not the same first.
    pub first_difference: Option<Difference>,
    /// All that was not the same.
    pub differences: Vec<Difference>,
    /// Messages and requests that were compared.
    pub compared: usize,
    /// How often it was done.
    pub attempts: usize,
    /// First differences of attempts in which each kind did what the other did in another one. That is chance: above all when Neutron
    /// tells Nova of something, which it does at once or up to two seconds later, and what Nova has in its caches by then.
    pub by_chance: Vec<Difference>,
}

/// Operations in which connections are opened or closed on purpose, and not when a pool happens to be empty.
const CONNECTS: [&str; 6] =
    [START_UP, "restart", "restart-renamed", "restart-after-evacuation", "shutdown", "idle-power-states-after-restart"];

/// What is done once, with the first request that needs it.
const FIRST_NEEDED: [&str; 2] = ["by itself, keystone ", "by itself, neutron GET /v2.0/extensions"];

/// Which of a side's hypervisors.
const ROLES: [&str; 2] = ["source", "destination"];

/// Compares what the real hypervisors said with what the simulated ones did.
pub fn compare(variation: Variation, real: &Recorded, simulated: &Recorded) -> Verdict {
    let compared =
        real.traces.iter().map(|trace| trace.events.iter().filter(|event| event.is_utterance()).count()).sum();
    let mut found = Vec::new();
    // What could be done to neither is not shown to be the same either.
    if real.failure.is_some() || simulated.failure.is_some() {
        let told = |failure: &Option<String>| failure.clone().unwrap_or_else(|| "it went well".to_owned());
        let what = format!("real: {}; simulated: {}", told(&real.failure), told(&simulated.failure));
        let host = "both".to_owned();
        found.push(Difference { host, because_of: "the operation itself".to_owned(), after: 0, what });
    }
    for (index, (real_trace, trace)) in real.traces.iter().zip(&simulated.traces).enumerate() {
        let role = ROLES[if variation.swapped { 1 - index } else { index }];
        let real_lanes = judged(&real.operation, lanes(real_trace, &names(real)));
        let its_lanes = judged(&real.operation, lanes(trace, &names(simulated)));
        found.extend(differences(role, &real_lanes, &its_lanes));
        if CONNECTS.contains(&real.operation.as_str()) {
            let theirs = connections(real_trace, &names(real));
            let its = connections(trace, &names(simulated));
            found.extend(differences(role, &theirs, &its));
        }
    }
    Verdict::new(&real.operation, found, compared)
}

impl Verdict {
    /// Of all that was not the same.
    pub(crate) fn new(name: &str, differences: Vec<Difference>, compared: usize) -> Self {
        Self {
            name: name.to_owned(),
            identical: differences.is_empty(),
            first_difference: differences.first().cloned(),
            differences,
            compared,
            attempts: 1,
            by_chance: Vec::new(),
        }
    }
}

/// An operation, done until it is known whether what differs is chance.
#[derive(Debug)]
pub struct Attempts {
    variation: Variation,
    real: Vec<Recorded>,
    simulated: Vec<Recorded>,
    /// What came of each alone.
    alone: Vec<Verdict>,
}

impl Attempts {
    /// None yet.
    pub fn new(variation: Variation) -> Self {
        Self { variation, real: Vec::new(), simulated: Vec::new(), alone: Vec::new() }
    }

    /// One more; gives what came of this one alone.
    pub fn add(&mut self, real: Recorded, simulated: Recorded) -> &Verdict {
        self.alone.push(compare(self.variation, &real, &simulated));
        self.real.push(real);
        self.simulated.push(simulated);
        self.alone.last().expect("it was added")
    }

    /// What comes of all: identical when whatever one kind did, the other did too, in the same attempt or in another. What only
    /// simulated hypervisors did, be it once, is a difference, and so is what only real ones did.
    ///
    /// # Panics
    /// When there was no attempt.
    pub fn verdict(&self) -> Verdict {
        let same = |real: usize, simulated: usize| {
            compare(self.variation, &self.real[real], &self.simulated[simulated]).identical
        };
        let all = 0..self.alone.len();
        let is_chance =
            |one: usize| all.clone().any(|other| same(one, other)) && all.clone().any(|other| same(other, one));
        let (mut differing, mut by_chance, mut identical) = (None, Vec::new(), None);
        for (attempt, verdict) in self.alone.iter().cloned().enumerate() {
            if verdict.identical || is_chance(attempt) {
                by_chance.extend(verdict.first_difference);
                identical = Some(Verdict::new(&verdict.name, Vec::new(), verdict.compared));
            } else {
                differing.get_or_insert(verdict);
            }
        }
        let whole = differing.or(identical).expect("there was an attempt");
        Verdict { attempts: self.real.len(), by_chance, ..whole }
    }
}

/// When Neutron speaks by itself, of how much at once, and what has happened by then, is chance. What that leads to is compared
/// in operations of its own, which see to it that both hear the same.
fn judged(operation: &str, lanes: Vec<Lane>) -> Vec<Lane> {
    let deliberate = operation.starts_with("event-");
    // A service logs in, and asks for extensions, with the first request that needs it, whatever that belongs to.
    let fresh = CONNECTS.contains(&operation);
    let first_needed = |lane: &Lane| FIRST_NEEDED.iter().any(|name| lane.name.starts_with(name));
    let judged = |lane: &Lane| (deliberate || !lane.name.starts_with(EVENT)) && (fresh || !first_needed(lane));
    lanes.into_iter().filter(judged).collect()
}

fn names(recorded: &Recorded) -> Names {
    let hosts = recorded.traces.iter().zip(["<first>", "<second>"]);
    let hosts = hosts.map(|(trace, stands)| (trace.host.clone(), stands.to_owned()));
    Names::new(hosts.chain([(recorded.zone.clone(), "<zone>".to_owned())]).collect())
}
