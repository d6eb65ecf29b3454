//! Two kinds of hypervisors, figure by figure, from two turns of each.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Figures, Group, Key, LoadPlan, periods::Period, tally::CLEANED};

/// Counts that are to be the same may differ by one in a hundred.
const COUNTS_WITHIN: f64 = 0.01;
/// CPU is measured on a machine that does other things, too; what those do to it shows in what the turns of one kind differ by.
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
    /// What the ballast was to take.
    pub(crate) planned_cpu_s: f64,
    /// What the piece of work took that never changes.
    pub(crate) pace_cpu_s: f64,
}

impl Measured {
    /// Nothing yet.
    pub(crate) fn empty(name: &'static str, took: Duration) -> Self {
        Self { name, took, figures: Figures::new(), own_cpu_s: 0.0, planned_cpu_s: 0.0, pace_cpu_s: 1.0 }
    }

    /// How many cores the hypervisors took.
    pub(crate) fn own_cores(&self) -> f64 {
        self.own_cpu_s / self.took.as_secs_f64()
    }

    /// A figure as it was measured.
    fn figure(&self, key: &Key) -> f64 {
        self.figures.get(key).copied().unwrap_or_default()
    }

    /// A figure; CPU as of a machine on which the piece of work takes this long.
    fn figure_at(&self, pace_cpu_s: f64, key: &Key) -> f64 {
        let scale = if key.group == Group::Cpu { pace_cpu_s / self.pace_cpu_s } else { 1.0 };
        self.figure(key) * scale
    }

    /// What the hypervisors asked the conductor and the APIs for.
    pub(crate) fn requests(&self) -> f64 {
        self.figures.iter().filter(|(key, _)| key.group.is_requests()).map(|(_, count)| count).sum()
    }
}

/// What there is to tell before all turns are done.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |group, name| self.figure(&Key::new(group, name));
        let [conductor_s, broker_s] = ["nova-conductor", "rabbitmq"].map(|service| of(Group::Cpu, service));
        let [sent, received] = ["messages sent", "messages received"].map(|way| of(Group::Amqp, way));
        let (name, took_s, pace_ms) = (self.name, self.took.as_secs_f64(), self.pace_cpu_s * 1e3);
        write!(
            f,
            "{name}, {took_s:.0} s: {sent} messages sent, {received} received; CPU of the conductor {conductor_s:.1} s, of the broker "
        )?;
        write!(f, "{broker_s:.1} s, of the piece of work {pace_ms:.2} ms")
    }
}

/// How like one another two figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// Within the aim.
    Same,
    /// Further apart than the aim, and no further than where the windows cut the hosts' periods by chance, or the clock counts; or,
    /// for what the whole cloud adds to, no further than its turns repeat, and than twice the aim.
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
    /// Of real nova-computes, both turns together.
    pub real: f64,
    /// Of simulated ones, likewise.
    pub simulated: f64,
    /// Simulated over real; `None` where the real ones have nothing.
    pub ratio: Option<f64>,
    /// The second turn of the real ones over their first; `None` where that has nothing.
    pub real_again: Option<f64>,
    /// Likewise, of the simulated ones.
    pub simulated_again: Option<f64>,
    /// How like one another they are.
    pub likeness: Likeness,
}

/// All figures of what went on for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// What went on.
    pub name: String,
    /// Its length with real nova-computes, in seconds, both turns together.
    pub real_s: f64,
    /// Its length with simulated ones, in seconds, likewise.
    pub simulated_s: f64,
    /// CPU that the real nova-computes themselves took, in seconds, likewise.
    pub real_own_cpu_s: f64,
    /// CPU that the ballast beside the simulated ones was to take, in seconds, likewise.
    pub ballast_planned_cpu_s: f64,
    /// CPU that it took.
    pub ballast_cpu_s: f64,
    /// CPU that a piece of work took that never changes, in milliseconds, in both turns of the real ones.
    pub real_pace_ms: [f64; 2],
    /// Likewise, of the simulated ones. The CPU of services is told as of a machine on which it always takes the mean of all four.
    pub simulated_pace_ms: [f64; 2],
    /// The figures, by group.
    pub rows: Vec<Row>,
}

impl Window {
    /// What the piece of work takes on the machine that CPU is told as of, in milliseconds.
    pub(super) fn pace_ms(&self) -> f64 {
        mean_pace(&self.real_pace_ms, &self.simulated_pace_ms)
    }
}

/// What came of it all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Release of OpenStack.
    pub release: String,
    /// Hypervisors of each kind.
    pub hosts: u32,
    /// Boots and deletes in the second window of each turn.
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

/// What was measured of one kind in one window, turn by turn.
pub(crate) type Turns<'a> = [&'a Measured; 2];

/// Compares what was measured of one window. Periodic is what hypervisors say without being asked for anything.
pub(crate) fn equivalence(real: Turns<'_>, simulated: Turns<'_>, plan: &LoadPlan, periodic: &BTreeSet<&Key>) -> Window {
    let keys: BTreeSet<&Key> = real.iter().chain(&simulated).flat_map(|measured| measured.figures.keys()).collect();
    let [real_pace, simulated_pace] = [real, simulated].map(|turns| turns.map(|measured| measured.pace_cpu_s));
    let pace_cpu_s = mean_pace(&real_pace, &simulated_pace);
    let rows = keys.into_iter().map(|key| {
        let of = |turns: Turns<'_>| turns.map(|measured| measured.figure_at(pace_cpu_s, key));
        row(key, of(real), of(simulated), periodic.contains(key).then(|| cut_by_windows(key, plan)))
    });
    let sum = |turns: Turns<'_>, of: fn(&Measured) -> f64| turns.into_iter().map(of).sum();
    Window {
        name: real[0].name.to_owned(),
        real_s: sum(real, |measured| measured.took.as_secs_f64()),
        simulated_s: sum(simulated, |measured| measured.took.as_secs_f64()),
        real_own_cpu_s: sum(real, |measured| measured.own_cpu_s),
        ballast_planned_cpu_s: sum(simulated, |measured| measured.planned_cpu_s),
        ballast_cpu_s: sum(simulated, |measured| measured.own_cpu_s),
        real_pace_ms: real_pace.map(|cpu_s| cpu_s * 1e3),
        simulated_pace_ms: simulated_pace.map(|cpu_s| cpu_s * 1e3),
        rows: rows.collect(),
    }
}

/// The one pace that all CPU is told as of.
fn mean_pace(real: &[f64; 2], simulated: &[f64; 2]) -> f64 {
    real.iter().chain(simulated).sum::<f64>() / 4.0
}

/// With what windows cut of it, when it is said periodically.
fn row(key: &Key, real_turns: [f64; 2], simulated_turns: [f64; 2], cut: Option<f64>) -> Row {
    let [real, simulated] = [real_turns, simulated_turns].map(|turns| turns.iter().sum::<f64>());
    let apart = (simulated - real).abs();
    let aim = real * if key.group == Group::Cpu { CPU_WITHIN } else { COUNTS_WITHIN };
    let by_chance = match key.group {
        Group::Conductor | Group::Rpc | Group::Http | Group::Agent => cut.unwrap_or_default(),
        Group::Database => unrepeatable(real_turns, simulated_turns).min(2.0 * aim),
        Group::Cpu => unrepeatable(real_turns, simulated_turns).min(2.0 * aim).max(CPU_FLOOR_S),
        Group::Servers | Group::Amqp => 0.0,
    };
    let likeness = match () {
        () if apart <= aim => Likeness::Same,
        () if apart <= by_chance => Likeness::Chance,
        () => Likeness::Differs,
    };
    let over = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    let again = |[first, second]: [f64; 2]| over(second, first);
    Row {
        group: key.group,
        name: key.name.clone(),
        real,
        simulated,
        ratio: over(simulated, real),
        real_again: again(real_turns),
        simulated_again: again(simulated_turns),
        likeness,
    }
}

/// How far apart two counts may be by where windows happen to cut periods.
///
/// A task that fits f times more than a whole number into the window runs once more on a host with probability f: a variance of
/// f(1 - f), a quarter at most. The difference of two kinds, of two turns each, has four times the variance of one turn's
/// hosts together; two standard deviations of that are twice the square root of the hosts. It holds for what is said once a
/// period; what is a sum of many, as bytes are, has no such measure. A host cleans up after all its deleted VMs at once.
fn cut_by_windows(key: &Key, plan: &LoadPlan) -> f64 {
    let at_once = match key.name.as_str() {
        name if name.starts_with("bytes") || name.starts_with("messages") => 0,
        CLEANED => plan.boots.div_ceil(plan.hosts).max(1),
        _ => 1,
    };
    2.0 * f64::from(plan.hosts).sqrt() * f64::from(at_once)
}

/// How far apart the sums of two kinds may be because nothing is measured twice alike: two standard deviations, as far as four turns
/// can tell.
///
/// When the cloud ages evenly from one turn to the next, the second real turn has three steps more than the first, and the second
/// simulated one has one: three times the latter from the former leaves none of that. Its variance is twenty times that of one
/// turn, and that of the difference of the sums four times.
fn unrepeatable(real: [f64; 2], simulated: [f64; 2]) -> f64 {
    let without_age = (real[1] - real[0]) - 3.0 * (simulated[1] - simulated[0]);
    2.0 * without_age.abs() * (4.0_f64 / 20.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(group: Group, name: &str, real: [f64; 2], simulated: [f64; 2], hosts: Option<u32>) -> Likeness {
        let key = Key::new(group, name);
        let cut = hosts.map(|hosts| cut_by_windows(&key, &plan(hosts)));
        row(&key, real, simulated, cut).likeness
    }

    /// Three boots on each host.
    fn plan(hosts: u32) -> LoadPlan {
        LoadPlan { hosts, idle: Duration::from_secs(60), boots: 3 * hosts }
    }

    #[test]
    fn counts_are_held_to_one_percent_and_cpu_to_five() {
        let likeness = |group, name, real: f64, simulated: f64| likeness(group, name, [real; 2], [simulated; 2], None);
        assert_eq!(likeness(Group::Database, "Com_select", 1000.0, 1010.0), Likeness::Same);
        assert_eq!(likeness(Group::Database, "Com_select", 1000.0, 1011.0), Likeness::Differs);
        assert_eq!(likeness(Group::Cpu, "nova-conductor", 100.0, 95.0), Likeness::Same);
        assert_eq!(likeness(Group::Cpu, "nova-conductor", 100.0, 94.0), Likeness::Differs);
        assert_eq!(likeness(Group::Cpu, "nginx", 0.02, 0.06), Likeness::Chance);
    }

    #[test]
    fn chance_explains_what_window_edges_cut_and_no_more() {
        // Four hosts: twice the root of four.
        let of = |group, name, simulated| likeness(group, name, [5.0; 2], simulated, Some(4));
        assert_eq!(of(Group::Http, "GET /x", [7.0, 7.0]), Likeness::Chance);
        assert_eq!(of(Group::Http, "GET /x", [7.0, 8.0]), Likeness::Differs);
        assert_eq!(of(Group::Amqp, "messages sent", [6.0, 6.0]), Likeness::Differs);
        assert_eq!(of(Group::Agent, "bytes sent", [6.0, 6.0]), Likeness::Differs);
        assert_eq!(of(Group::Servers, "ACTIVE", [5.0, 4.0]), Likeness::Differs);
        assert_eq!(of(Group::Conductor, CLEANED, [11.0; 2]), Likeness::Chance);
        assert_eq!(of(Group::Conductor, CLEANED, [12.0; 2]), Likeness::Differs);
        // What is said for each boot is cut by nothing.
        assert_eq!(likeness(Group::Conductor, "Instance.save", [100.0; 2], [98.0; 2], None), Likeness::Differs);
    }

    #[test]
    fn what_the_whole_cloud_adds_to_is_as_exact_as_it_repeats() {
        let cpu = |real, simulated| likeness(Group::Cpu, "keystone-api", real, simulated, None);
        // The cloud grows older: the kinds are the same, and their turns are not; and simulated ones that take a fifth more.
        assert_eq!(cpu([10.0, 16.0], [12.0, 14.0]), Likeness::Same);
        assert_eq!(cpu([10.0, 16.0], [14.4, 16.8]), Likeness::Differs);
        // Turns of one kind are as far apart as the kinds, and further than twice the aim.
        assert_eq!(cpu([10.0, 10.0], [10.0, 11.3]), Likeness::Chance);
        assert_eq!(cpu([10.0, 10.0], [10.0, 16.0]), Likeness::Differs);
        let statements = |simulated| likeness(Group::Database, "Questions", [1000.0; 2], simulated, None);
        assert_eq!(statements([1000.0, 1030.0]), Likeness::Chance);
        assert_eq!(statements([1000.0, 3000.0]), Likeness::Differs);
    }

    #[test]
    fn what_only_one_kind_has_is_a_row_too() {
        let key = |name: &str| Key::new(Group::Conductor, name);
        let of = |figures: Figures| Measured { figures, ..Measured::empty("idle", Duration::from_secs(60)) };
        let real = of([(key("Service.save"), 60.0), (key("Only.real"), 30.0)].into());
        let simulated = of([(key("Service.save"), 60.0), (key("Only.simulated"), 30.0)].into());
        let simulated = Measured { own_cpu_s: 6.0, planned_cpu_s: 5.5, ..simulated };
        let window = equivalence([&real, &real], [&simulated, &simulated], &plan(2), &BTreeSet::new());
        let told: Vec<_> = window.rows.iter().map(|row| (row.name.as_str(), row.ratio, row.likeness)).collect();
        assert_eq!(
            told,
            [
                ("Only.real", Some(0.0), Likeness::Differs),
                ("Only.simulated", None, Likeness::Differs),
                ("Service.save", Some(1.0), Likeness::Same),
            ]
        );
        assert_eq!((window.real_s, window.ballast_cpu_s, window.ballast_planned_cpu_s), (120.0, 12.0, 11.0));
    }

    #[test]
    fn cpu_is_told_as_of_a_machine_of_one_pace() {
        let key = Key::new(Group::Cpu, "nova-conductor");
        let of = |cpu_s, pace_cpu_s| Measured {
            figures: [(key.clone(), cpu_s)].into(),
            pace_cpu_s,
            ..Measured::empty("idle", Duration::from_secs(60))
        };
        // The same work, while the machine becomes slower by half.
        let turns = [of(10.0, 0.002), of(15.0, 0.003)];
        let window = equivalence([&turns[0]; 2], [&turns[1]; 2], &plan(2), &BTreeSet::new());
        let row = &window.rows[0];
        assert!((row.real - 25.0).abs() < 1e-9 && (row.simulated - 25.0).abs() < 1e-9, "{row:?}");
        assert_eq!(row.likeness, Likeness::Same);
        assert!((window.simulated_pace_ms[1] - 3.0).abs() < 1e-9);
    }
}
