//! `summary.json`, schema 1: the figures of a run that gates, CI and other tools read.
//!
//! `SUMMARY.md` says the same for readers without Rust. Within a schema fields may be added; none is renamed, removed or
//! given another meaning or unit. A figure that the run does not have is `null`, never zero.

use scenarios::plan::Bound;
use serde::{Deserialize, Serialize};

/// The figures of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of this document: [`Summary::SCHEMA`].
    pub schema: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// `live` or `sim`.
    pub target: String,
    /// OpenStack release, such as `2026.2`.
    pub release: String,
    /// Seed of every random choice of the run.
    pub seed: u64,
    /// How the run is judged.
    pub outcome: Verdict,
    /// Why, in one sentence; `null` when the run passed.
    pub reason: Option<String>,
    /// From `t = 0` to the end of the run, in seconds; of a partial run, to the last thing that it recorded.
    pub duration_s: f64,
    /// The simulated hypervisors.
    pub hypervisors: Hypervisors,
    /// One entry for each stream of the plan, in its order.
    pub operations: Vec<Operation>,
    /// One entry for each remote call that the fleet made, by name.
    pub rpc: Vec<Rpc>,
    /// One entry for each process of the cloud, by name.
    pub processes: Vec<Process>,
    /// One entry for each gate of the plan, in its order. They decide only when `outcome` is `passed` or `failed`; of
    /// any other run they are what the figures would have said.
    pub gates: Vec<GateVerdict>,
    /// What gave way, in the order in which it did.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What the harness itself cost, and how late it was.
    pub harness: Harness,
    /// What would grow for ever if something were not given back: one entry for each such series of the run.
    #[serde(default)]
    pub growth: Vec<Growth>,
}

impl Summary {
    /// The schema that this version writes.
    pub const SCHEMA: u32 = 1;
}

/// How a run is judged. Where several apply, the first of this order wins: error, partial, invalid, failed, passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The plan was carried out and every gate held.
    Passed,
    /// The plan was carried out and a gate did not hold.
    Failed,
    /// The harness itself was later than the plan's bound: the figures prove nothing about the cloud.
    Invalid,
    /// The run was interrupted or killed: the figures are what was seen until then.
    Partial,
    /// The plan could not be carried out.
    Error,
}

impl Verdict {
    /// The exit status of the command: 0 passed, 1 a gate failed, 2 could not run or did not end, 3 not valid.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Partial | Self::Error => 2,
            Self::Invalid => 3,
        }
    }

    /// Whether the gates decided: only of a run that was carried out, by a harness that kept time.
    pub fn is_judged(self) -> bool {
        matches!(self, Self::Passed | Self::Failed)
    }

    /// The word that `summary.json` has.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Partial => "partial",
            Self::Error => "error",
        }
    }
}

/// Something that gave way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// When it was first seen, in seconds since `t = 0`.
    pub at_s: f64,
    /// What it was, in words.
    pub what: String,
    /// Keys of the scenario that bound it.
    pub options: Vec<String>,
}

/// The simulated hypervisors, as Nova's own records of its services show them (on a cloud of others: its service list).
///
/// `up_min`, `up_end`, `false_down` and `falsely_down` look at the time from the event `phase load` (all have registered) until the end
/// of the drain, and are `null` when the run never got there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hypervisors {
    /// How many the plan asks for.
    pub requested: u32,
    /// The most that had registered at any time.
    pub registered: Option<u32>,
    /// The fewest that were up.
    pub up_min: Option<u32>,
    /// How many were up at the end.
    pub up_end: Option<u32>,
    /// How often Nova took a hypervisor for down that the fleet knew to be alive (events `host_down`).
    pub false_down: Option<u32>,
    /// How many hypervisors that happened to at least once.
    pub falsely_down: Option<u32>,
    /// How often it happened before that time, from the first look on: during start-up.
    pub false_down_before_load: Option<u32>,
}

/// One stream of operations.
///
/// Latencies are those of the operations that succeeded, from their intended starts, out of the HdrHistogram log
/// `latency/operations/<name>.hlog` (three significant digits, rounded up); `null` when none succeeded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Name of the stream.
    pub name: String,
    /// How many the plan wanted in the whole run: the series `load.intended` if the target wrote it, else the plan and
    /// its seed, else (a closed loop that ends by time) as many as are known to have been intended.
    pub intended: u64,
    /// How many were started.
    pub started: u64,
    /// How many ended well.
    pub succeeded: u64,
    /// How many ended otherwise, timeouts included.
    pub failed: u64,
    /// Median latency, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 95th percentile, in milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile, in milliseconds.
    pub p99_ms: Option<f64>,
    /// The longest, in milliseconds.
    pub max_ms: Option<f64>,
}

/// One remote call that the fleet makes, as its callers saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rpc {
    /// The call, such as `Service.save`.
    pub call: String,
    /// How many ended, however they did.
    pub count: u64,
    /// How many ended with an exception or a broken connection.
    pub failed: u64,
    /// How many got no reply in time.
    pub timed_out: u64,
    /// How many of these were given up while the cloud was loaded, without the start-up of the fleet; `None` when it never was.
    #[serde(default)]
    pub timed_out_load: Option<u64>,
    /// Median latency of all that ended, in milliseconds; one that timed out counts with the time its caller waited.
    pub p50_ms: Option<f64>,
    /// 99th percentile, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Median of those that ended while the cloud was loaded, from the event `phase load` until the end of the drain: the start-up of
    /// the fleet is left out.
    #[serde(default)]
    pub p50_load_ms: Option<f64>,
    /// 99th percentile of the same.
    #[serde(default)]
    pub p99_load_ms: Option<f64>,
}

/// One process of the cloud.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its name, as `kagemusha status` shows it.
    pub name: String,
    /// CPU time that it took while it was watched, in seconds.
    pub cpu_s: f64,
    /// The most memory it had resident, in bytes; `null` when it was never seen.
    pub rss_peak_bytes: Option<u64>,
}

/// A gate, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// Path of the figure in this document.
    pub metric: String,
    /// What must hold: `{"max": n}`, `{"min": n}` or `{"equals": n}`.
    pub bound: Bound,
    /// The figure; `null` when the run does not have it.
    pub value: Option<f64>,
    /// Whether the bound held. A figure that is missing never passes.
    pub passed: bool,
    /// Why it did not pass, in words; `null` when it did.
    pub reason: Option<String>,
}

/// The harness itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Harness {
    /// CPU time that it took, in seconds.
    pub cpu_s: Option<f64>,
    /// The most memory it had resident, in bytes.
    pub rss_peak_bytes: Option<u64>,
    /// 99th percentile of how late it did what the plan wanted, in milliseconds: the worst of the streams
    /// `latency/harness/*.hlog`.
    pub late_ms_p99: Option<f64>,
}

/// What a series grew by under load: from its mean in the first tenth of the time from the event `phase load` until the end of
/// the drain to that in the last tenth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// The series, such as `harness.rss_bytes`.
    pub name: String,
    /// In percent of what it was, below zero where it shrank; `null` when it was nothing.
    pub percent: Option<f64>,
}
