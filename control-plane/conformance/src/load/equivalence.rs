//! Two kinds of hypervisors, figure by figure.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Figures, Group, Key, periods::Period};

/// Counts that are to be the same may differ by one in a hundred.
const COUNTS_WITHIN: f64 = 0.01;
/// CPU is measured on a machine that does other things, too.
const CPU_WITHIN: f64 = 0.05;
/// The kernel counts CPU in hundredths of a second: what is less than ten of them apart says nothing.
const CPU_FLOOR_S: f64 = 0.1;

/// What was measured of one kind while something went on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    pub(crate) figures: Figures,
    /// What the hypervisors themselves took, or the ballast in their place.
    pub(crate) own_cpu_s: f64,
}

impl Measured {
    /// How many cores the hypervisors took.
    pub(crate) fn own_cores(&self) -> f64 {
        self.own_cpu_s / self.took.as_secs_f64()
    }
}

/// How like one another two figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// Within the aim.
    Same,
    /// Further apart than the aim, and no further than where the window cuts the hosts' periods by chance, or the clock counts.
    Chance,
    /// Neither.
    Differs,
}

/// One figure of both kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is about.
    pub group: Group,
    /// Which figure.
    pub name: String,
    /// Of real nova-computes.
    pub real: f64,
    /// Of simulated ones.
    pub simulated: f64,
    /// Simulated over real; `None` where the real ones have nothing.
    pub ratio: Option<f64>,
    /// How like one another they are.
    pub likeness: Likeness,
}

/// All figures of what went on for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// What went on.
    pub name: String,
    /// Its length with real nova-computes, in seconds.
    pub real_s: f64,
    /// Its length with simulated ones, in seconds.
    pub simulated_s: f64,
    /// CPU that the real nova-computes themselves took, in seconds.
    pub real_own_cpu_s: f64,
    /// CPU that the ballast beside the simulated ones was to take, in seconds.
    pub ballast_cpu_s: f64,
    /// The figures, by group.
    pub rows: Vec<Row>,
}

/// What came of it all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Release of OpenStack.
    pub release: String,
    /// Hypervisors of each kind.
    pub hosts: u32,
    /// Boots and deletes in the second window.
    pub boots: u32,
    /// Their rate.
    pub boots_per_s: f64,
    /// How often each periodic task fits into the first window.
    pub periods: Vec<Period>,
    /// The windows, in order.
    pub windows: Vec<Window>,
}

impl LoadReport {
    /// Figures that differ by more than the aim and chance.
    pub fn differing(&self) -> impl Iterator<Item = &Row> {
        self.windows.iter().flat_map(|window| &window.rows).filter(|row| row.likeness == Likeness::Differs)
    }
}

/// Compares what was measured of one window.
pub(crate) fn equivalence(real: &Measured, simulated: &Measured, hosts: u32) -> Window {
    let keys: BTreeSet<&Key> = real.figures.keys().chain(simulated.figures.keys()).collect();
    let rows = keys.into_iter().map(|key| {
        let of = |measured: &Measured| measured.figures.get(key).copied().unwrap_or_default();
        row(key, of(real), of(simulated), hosts)
    });
    Window {
        name: real.name.to_owned(),
        real_s: real.took.as_secs_f64(),
        simulated_s: simulated.took.as_secs_f64(),
        real_own_cpu_s: real.own_cpu_s,
        ballast_cpu_s: simulated.own_cpu_s,
        rows: rows.collect(),
    }
}

fn row(key: &Key, real: f64, simulated: f64, hosts: u32) -> Row {
    let apart = (simulated - real).abs();
    let within = if key.group == Group::Cpu { CPU_WITHIN } else { COUNTS_WITHIN };
    let likeness = match () {
        () if apart <= within * real => Likeness::Same,
        () if apart <= by_chance(key, hosts) => Likeness::Chance,
        () => Likeness::Differs,
    };
    let ratio = (real > 0.0).then(|| simulated / real);
    Row { group: key.group, name: key.name.clone(), real, simulated, ratio, likeness }
}

/// How far apart two counts may be by where a window happens to cut periods.
///
/// A task that fits f times more than a whole number into the window runs once more on a host with probability f: a variance of
/// f(1 - f), a quarter at most. The difference of two kinds has twice the variance of one kind's hosts together; two
/// standard deviations of that are the square root of twice the hosts. It holds for what is said once a period; what is a sum of
/// many, as bytes are, and what the whole cloud adds to, has no such measure.
fn by_chance(key: &Key, hosts: u32) -> f64 {
    let is_sum = key.name.starts_with("bytes") || key.name.starts_with("messages");
    match key.group {
        Group::Conductor | Group::Rpc | Group::Http | Group::Agent if !is_sum => f64::from(2 * hosts).sqrt(),
        Group::Cpu => CPU_FLOOR_S,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(group: Group, name: &str, real: f64, simulated: f64, hosts: u32) -> Likeness {
        row(&Key::new(group, name), real, simulated, hosts).likeness
    }

    #[test]
    fn counts_are_held_to_one_percent_and_cpu_to_five() {
        assert_eq!(likeness(Group::Database, "Com_select", 1000.0, 1010.0, 20), Likeness::Same);
        assert_eq!(likeness(Group::Database, "Com_select", 1000.0, 1011.0, 20), Likeness::Differs);
        assert_eq!(likeness(Group::Cpu, "nova-conductor", 100.0, 95.0, 20), Likeness::Same);
        assert_eq!(likeness(Group::Cpu, "nova-conductor", 100.0, 94.0, 20), Likeness::Differs);
        assert_eq!(likeness(Group::Cpu, "nginx", 0.02, 0.09, 20), Likeness::Chance);
    }

    #[test]
    fn chance_explains_what_window_edges_cut_and_no_more() {
        // Two hosts: the root of four.
        assert_eq!(likeness(Group::Http, "GET /x", 10.0, 12.0, 2), Likeness::Chance);
        assert_eq!(likeness(Group::Http, "GET /x", 10.0, 13.0, 2), Likeness::Differs);
        assert_eq!(likeness(Group::Amqp, "messages sent", 10.0, 12.0, 2), Likeness::Differs);
        assert_eq!(likeness(Group::Agent, "bytes sent", 10.0, 12.0, 2), Likeness::Differs);
        assert_eq!(likeness(Group::Servers, "ACTIVE", 10.0, 9.0, 2), Likeness::Differs);
    }

    #[test]
    fn what_only_one_kind_has_is_a_row_too() {
        let key = |name: &str| Key::new(Group::Conductor, name);
        let of = |figures: Figures| Measured { name: "idle", took: Duration::from_secs(60), figures, own_cpu_s: 6.0 };
        let real = of([(key("Service.save"), 60.0), (key("Only.real"), 30.0)].into());
        let simulated = of([(key("Service.save"), 60.0), (key("Only.simulated"), 30.0)].into());
        let window = equivalence(&real, &simulated, 2);
        let told: Vec<_> = window.rows.iter().map(|row| (row.name.as_str(), row.ratio, row.likeness)).collect();
        assert_eq!(
            told,
            [
                ("Only.real", Some(0.0), Likeness::Differs),
                ("Only.simulated", None, Likeness::Differs),
                ("Service.save", Some(1.0), Likeness::Same),
            ]
        );
    }
}
