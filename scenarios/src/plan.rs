//! The resolved plan: what a run will do, with nothing left to default.
//!
//! A plan is made from a scenario, `--set` overrides and a seed. It can be written to disk and read back, and both
//! targets run from it alone.

use std::{collections::BTreeMap, time::Duration};

use hypervisor::Delay;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::seed::generator;

/// Everything a target needs to run a scenario once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the scenario, for people and for `summary.json`.
    pub scenario: String,
    /// One sentence on what the scenario is for.
    pub description: String,
    /// The scenario text as it was written.
    pub scenario_text: String,
    /// OpenStack release, for example `2026.2`.
    pub release: String,
    /// Seed of every random choice of the run.
    pub seed: u64,
    /// Which processes serve the cloud.
    pub cloud: CloudPlan,
    /// The hardware that the model of the `sim` target has; a live run has what it has.
    #[serde(default)]
    pub deployment: DeploymentPlan,
    /// Who loads the cloud.
    pub tenants: TenantsPlan,
    /// The simulated hypervisors.
    pub fleet: FleetPlan,
    /// Options that differ from the release's defaults.
    pub tuning: Tuning,
    /// The streams of operations, in the order of the scenario.
    pub load: Vec<LoadPlan>,
    /// What happens to the cloud while it is loaded.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// How long after the last intended start the run waits for operations to end.
    pub drain: Duration,
    /// What must hold for the run to pass.
    pub gates: Vec<Gate>,
    /// The search that the scenario is for; `None`: it is for one run.
    #[serde(default)]
    pub edge: Option<EdgePlan>,
    /// Beyond this p99 lateness of its own the harness calls the run invalid.
    pub late_bound: Duration,
}

/// A search for the largest size at which all gates hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgePlan {
    /// The key that grows, as an override of the scenario: `fleet.hypervisors`, `load.boot.rate`.
    pub vary: String,
    /// The size to begin with.
    pub from: f64,
    /// The largest size to try.
    pub to: f64,
    /// What is written behind a size, such as `/s`; nothing: sizes are whole numbers.
    pub unit: String,
    /// The search ends when the edge is known with 95 % confidence to this part of it.
    pub within: f64,
    /// The search ends after so many trials in any case.
    pub most_trials: u32,
    /// Options beside those of the scenario, by the name that they go by: one search for each. None: one search.
    pub tunings: BTreeMap<String, Tuning>,
}

/// Where the cloud comes from and how many processes of each service it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudPlan {
    /// `None`: the harness brings its own cloud up. `Some`: a cloud it did not start, which it loads only when the
    /// command confirms it (`--allow-foreign-cloud`).
    pub bring_your_own: Option<ForeignCloud>,
    /// Nodes of the broker's cluster; `None`: as many as the cloud has that is there, else one.
    #[serde(default)]
    pub brokers: Option<u32>,
    /// Processes and threads of each WSGI service, by service name (`keystone`, `placement`, `glance`, `neutron`, `nova`).
    pub wsgi: BTreeMap<String, WsgiPlan>,
}

/// More nodes of a broker than this do not fit the cloud's range of ports.
pub const MOST_BROKERS: u32 = 9;
/// Processes that a fleet may be spread over: far more than a machine has files for.
pub const MOST_FLEET_PROCESSES: u32 = 64;

/// Processes and threads of a service behind nginx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WsgiPlan {
    /// Number of processes; nginx balances over them.
    pub processes: u32,
    /// Threads in each process.
    pub threads: u32,
}

/// The machines of a modelled cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentPlan {
    /// Machines that run the APIs, conductors, schedulers and Neutron's workers, each all of them.
    pub controllers: u32,
    /// Cores of each controller.
    pub controller_cores: u32,
    /// Machines with one broker node each; 0: one node, on the first controller.
    pub brokers: u32,
    /// Cores of each of these.
    pub broker_cores: u32,
    /// Cores of the database's machine; 0: it runs on the first controller.
    pub database_cores: u32,
    /// Connections that the database accepts (`max_connections`).
    pub database_connections: u32,
    /// One way between any two machines, hypervisors included.
    pub link: Duration,
    /// How far the clock of the last controller is ahead of the first one's; those between lie between.
    pub clock_skew: Duration,
}

impl Default for DeploymentPlan {
    /// One machine for everything.
    fn default() -> Self {
        Self {
            controllers: 1,
            controller_cores: 8,
            brokers: 0,
            broker_cores: 8,
            database_cores: 0,
            database_connections: 8_000,
            link: Duration::from_micros(100),
            clock_skew: Duration::ZERO,
        }
    }
}

/// A cloud that the harness did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignCloud {
    /// Name of the cloud in the user's `clouds.yaml`.
    pub cloud: String,
    /// AMQP URL of its broker (`amqp://user:password@host:port/vhost`), from the environment variable of this name.
    pub transport_url_env: String,
}

/// Projects and users that the load is spread over, round robin, and what they boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsPlan {
    /// Number of projects.
    pub projects: u32,
    /// Number of users, spread evenly over the projects.
    pub users: u32,
    /// Name of the image that servers are booted from; `None`: the run makes one.
    pub image: Option<String>,
}

/// The simulated hypervisors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetPlan {
    /// How many.
    pub hypervisors: u32,
    /// How they share AMQP connections.
    pub connections: ConnectionMode,
    /// When they start.
    #[serde(default)]
    pub start: Start,
    /// Whether an L2 agent runs on each; without one no port is bound there.
    #[serde(default = "yes")]
    pub l2_agent: bool,
    /// What each one offers.
    pub resources: hypervisor::Resources,
    /// How long what a real hypervisor does takes.
    pub times: hypervisor::Times,
    /// How long the run waits for Nova's service list to show all of them up.
    pub register_within: Duration,
    /// Servers that run on them already when the run begins; on a real cloud an earlier run has left them.
    #[serde(default)]
    pub servers: u32,
    /// Real nova-computes with the fake driver beside them, on the harness's own cloud: the scheduler leaves them alone.
    #[serde(default)]
    pub real: u32,
    /// Processes that the harness spreads them over on a real cloud; `None`: as many as its limit of open files makes necessary.
    #[serde(default)]
    pub processes: Option<u32>,
}

const fn yes() -> bool {
    true
}

/// When the hypervisors of a fleet start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Start {
    /// One after another, evenly, however far the others are.
    Pace {
        /// Hypervisors a second.
        per_s: f64,
    },
    /// All at the same moment, as after a power failure.
    AtOnce,
    /// Each at a moment of its own, spread at random over this time.
    Stagger {
        /// From the first to the last.
        over: Duration,
    },
    /// As fast as the cloud takes them: the next one starts when one is through with its start-up.
    UnderWay {
        /// How many are in their start-up at any time.
        hypervisors: u32,
    },
}

impl Default for Start {
    fn default() -> Self {
        Self::UnderWay { hypervisors: DEFAULT_UNDER_WAY }
    }
}

/// Two cores are busy with eight; with more, each call takes a conductor more CPU.
const DEFAULT_UNDER_WAY: u32 = 16;

impl Start {
    /// When each of so many hypervisors starts, from the first to the last; `None` where that follows from the cloud.
    pub fn moments(self, hypervisors: u32, seed: u64) -> Option<Vec<Duration>> {
        let numbers = 0..hypervisors;
        match self {
            Self::Pace { per_s } => {
                Some(numbers.map(|number| Duration::from_secs_f64(f64::from(number) / per_s)).collect())
            }
            Self::AtOnce => Some(numbers.map(|_| Duration::ZERO).collect()),
            Self::Stagger { over } => {
                let mut rng = generator(seed, "fleet/start");
                let mut moments: Vec<Duration> = numbers.map(|_| over.mul_f64(rng.random())).collect();
                moments.sort_unstable();
                Some(moments)
            }
            Self::UnderWay { .. } => None,
        }
    }
}

/// How many AMQP connections a hypervisor opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum ConnectionMode {
    /// As many as nova-compute and the Open vSwitch agent: four and thirteen when idle.
    Faithful,
    /// One for each hypervisor.
    Single,
    /// Many hypervisors on a few connections.
    Shared {
        /// Number of connections for the whole fleet.
        connections: u32,
    },
}

/// Options by service, then by `section.name`, as real configuration has them.
pub type Tuning = BTreeMap<String, BTreeMap<String, OptionValue>>;

/// The value of an option as it will stand in the configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// A boolean, written `True` or `False`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// Text, written as it is.
    Text(String),
    /// A list, written comma-separated.
    List(Vec<String>),
}

/// One stream of operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Name of the stream in results; unique in the plan. The operation's own name unless the scenario says otherwise.
    pub name: String,
    /// What each operation does.
    pub operation: Operation,
    /// When operations start.
    pub arrivals: Arrivals,
    /// When the stream begins: this long after the start of the load, or after the end of the stream that `after` names.
    pub start: Duration,
    /// The stream waits until this stream of the plan has ended and all its operations have finished, then for `start`.
    pub after: Option<String>,
    /// An operation that has not ended after this time has failed.
    pub timeout: Duration,
}

/// An operation on the public API, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Operation {
    /// `POST /servers`, then polls until ACTIVE or ERROR.
    Boot {
        /// NICs, each on the run's network.
        nics: u32,
        /// Servers that one request asks for (`min_count`).
        #[serde(default = "one")]
        batch: u32,
    },
    /// Deletes the oldest server of the run that is ACTIVE, then polls until it is gone.
    Delete,
    /// `GET /servers/detail` as one of the users.
    List,
    /// `GET /servers/{id}` of a server of the run.
    Show,
    /// A token for one of the users (`POST /v3/auth/tokens`).
    Token,
    /// Stops a server of the run (`os-stop`), polls until SHUTOFF, starts it (`os-start`), polls until ACTIVE.
    StopStart,
    /// Gives a server of the run the other flavor (`resize`), polls until VERIFY_RESIZE, confirms, polls until ACTIVE.
    Resize,
}

impl Operation {
    /// How many operations of a stream are asked for in one request.
    pub fn batch(&self) -> u32 {
        match self {
            Self::Boot { batch, .. } => *batch,
            _ => 1,
        }
    }

    /// Whether Nova's scheduler looks for a host.
    pub fn chooses_hosts(&self) -> bool {
        matches!(self, Self::Boot { .. } | Self::Resize)
    }
}

const fn one() -> u32 {
    1
}

/// When the operations of a stream start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Arrivals {
    /// Open loop: evenly spaced.
    Constant {
        /// Operations a second.
        rate_per_s: f64,
        /// When to stop.
        until: Until,
    },
    /// Open loop: exponential gaps.
    Poisson {
        /// Mean operations a second.
        rate_per_s: f64,
        /// When to stop.
        until: Until,
    },
    /// Open loop: the rate changes linearly over the duration.
    Ramp {
        /// Operations a second at the beginning.
        from_per_s: f64,
        /// Operations a second at the end.
        to_per_s: f64,
        /// How long the ramp takes.
        duration: Duration,
    },
    /// Open loop: `size` operations at once, `times` times.
    Burst {
        /// Operations in each burst.
        size: u64,
        /// Time from one burst to the next.
        every: Duration,
        /// Number of bursts.
        times: u64,
    },
    /// Closed loop: `users` clients, each starting its next operation after the last has ended and a think time.
    Closed {
        /// Number of clients.
        users: u32,
        /// Pause between the end of one operation and the next.
        think: Delay,
        /// When to stop.
        until: Until,
    },
}

/// End of a stream: a number of operations or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// After this many operations.
    Count(u64),
    /// After this time.
    Elapsed(Duration),
}

/// Something that happens to the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// When, counted from the beginning of the load.
    pub at: Duration,
    /// What.
    pub kind: IncidentKind,
}

/// What can happen to a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum IncidentKind {
    /// All brokers stop, every connection is lost and with it what is not durable, and after this time they are back.
    BrokerRestart {
        /// How long nobody can connect.
        lasts: Duration,
    },
    /// Hypervisors lose all their connections at the same moment, as behind a switch that restarts, and connect again.
    ConnectionsLost {
        /// Part of the hypervisors, above zero and at most one.
        share: f64,
    },
    /// nova-compute ends on hypervisors, and starts again.
    ComputesRestart {
        /// Part of the hypervisors, above zero and at most one.
        share: f64,
        /// When each of them restarts, from that moment on.
        start: Start,
    },
}

/// A bound on a figure of the summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Path into the summary, such as `operations.boot.p99_ms` or `hypervisors.false_down`; elements of a list are
    /// named by their `name` or `call`.
    pub metric: String,
    /// What must hold.
    pub bound: Bound,
}

/// What a gate asks of its figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// At most this.
    Max(f64),
    /// At least this.
    Min(f64),
    /// Exactly this.
    Equals(f64),
}
