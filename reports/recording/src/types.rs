//! The records of a run folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was run, on what, when. Written before the first operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the run folder's format: [`Manifest::SCHEMA`].
    pub schema: u32,
    /// Version of the harness.
    pub harness_version: String,
    /// Name of the scenario.
    pub scenario: String,
    /// `live` or `sim`.
    pub target: String,
    /// OpenStack release.
    pub release: String,
    /// Seed of the run.
    pub seed: u64,
    /// The command that was given, word by word, for people who want to repeat the run; no secrets.
    #[serde(default)]
    pub command: Vec<String>,
    /// Wall-clock time of `t = 0`, RFC 3339, UTC; empty in virtual time.
    pub started_at: String,
    /// Machine facts: `cores`, `memory_bytes`, `kernel`, `cpu`.
    pub machine: BTreeMap<String, String>,
    /// Versions of the packages under test.
    pub packages: BTreeMap<String, String>,
    /// Options that were asked for and differ from the release's defaults, as `service: section.name`
    /// (`nova: DEFAULT.report_interval`) to the value as the configuration file has it.
    pub tuning: BTreeMap<String, String>,
    /// What the harness itself sets otherwise than the defaults, as `service: section.name = value`, to its reason.
    #[serde(default)]
    pub deviations: BTreeMap<String, String>,
    /// Options that were asked for and that a simulated run does not follow, as `service: section.name` to the value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_modelled: BTreeMap<String, String>,
    /// Where the service times of a simulated run come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationFacts>,
}

/// Where service times come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationFacts {
    /// The runs that they were taken from.
    pub source: String,
    /// When.
    pub date: String,
    /// On which machine.
    pub machine: String,
}

impl Manifest {
    /// The format that this version writes, and the newest that it reads.
    pub const SCHEMA: u32 = 1;
}

/// How the run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Class of the end.
    pub kind: OutcomeKind,
    /// Why, when it did not complete.
    pub reason: Option<String>,
    /// Time from `t = 0` to the end, in milliseconds.
    pub duration_ms: f64,
}

impl Outcome {
    /// Why the plan could not be carried out; `None`: it was, or the user stopped it.
    pub fn failure(&self) -> Option<&str> {
        match self.kind {
            OutcomeKind::Completed | OutcomeKind::Interrupted => None,
            OutcomeKind::Error | OutcomeKind::Overwhelmed => {
                Some(self.reason.as_deref().unwrap_or("the plan could not be carried out"))
            }
        }
    }
}

/// Class of the end of a run, before any gate is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The plan was carried out.
    Completed,
    /// Stopped by the user; drained and cleaned up.
    Interrupted,
    /// Could not be carried out.
    Error,
    /// Could not be carried out because it was too much for the cloud: its hypervisors did not all come up in time.
    Overwhelmed,
}

/// One operation of the load. Times are milliseconds from `t = 0` of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Stream of the plan.
    pub stream: String,
    /// Number of the operation in its stream, from 0.
    pub index: u64,
    /// When the plan wanted it to start.
    pub intended_ms: f64,
    /// When it did start; the difference is the harness's own lateness.
    pub started_ms: f64,
    /// When it ended.
    pub ended_ms: f64,
    /// Why it failed; `None`: it succeeded.
    pub error: Option<String>,
    /// The server, where there is one.
    pub server: Option<String>,
    /// The host the server ran on, where known.
    pub host: Option<String>,
    /// Durations of the phases in milliseconds, in the order they happened (`api`, `conductor`, `scheduler`, `build`,
    /// `network`, `spawn`), where known.
    #[serde(default)]
    pub phases_ms: Vec<(String, f64)>,
}

/// Something that happened once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds from `t = 0`.
    pub t_ms: f64,
    /// Class: `phase` (detail: `bring_up`, `tenants`, `register`, `load`, `drain`, `clean_up`, `end`), `host_down`,
    /// `host_up`, `warning`, `error`, `interrupted`.
    pub kind: String,
    /// What, in words.
    pub detail: String,
}

/// One point of a time series.
///
/// | metric | instance | |
/// |---|---|---|
/// | `process.cpu_s`, `process.rss_bytes` | process | CPU time (cumulative), resident memory |
/// | `process.waiting`, `process.pool_waiting` | process | requests that wait for a handler, or in a handler for a connection to a database; simulated only |
/// | `machine.cpu_s` | machine, if there are several | busy time of all cores of the machine (cumulative) |
/// | `broker.connections`, `.channels`, `.queues`, `.consumers`, `.messages_ready`, `.messages_unacked` | | RabbitMQ, now |
/// | `broker.publish_per_s`, `broker.deliver_per_s` | | its message rates |
/// | `broker.queue_depth` | queue | messages in one queue |
/// | `database.connections`, `.threads_running` | | MariaDB, now |
/// | `database.queries_total`, `.lock_waits_total` | | MariaDB, cumulative |
/// | `database.refused_total`, `.pool_timeouts_total` | | connections refused, waits for a pool given up, cumulative; simulated only |
/// | `fleet.registered`, `fleet.up` | | hypervisors; `up` as Nova's own records of its services say |
/// | `fleet.rpc_calls_total`, `fleet.rpc_timeouts_total` | | cumulative |
/// | `rpc.count`, `rpc.failed`, `rpc.timed_out` | call | cumulative; written by the recorder |
/// | `load.intended` | stream | operations that the stream's schedule holds; written when the load begins |
/// | `load.started` | stream | operations started so far |
/// | `harness.cpu_s`, `harness.rss_bytes` | | the harness itself; how late it is stands in the latency streams `harness/…` |
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Milliseconds from `t = 0`.
    pub t_ms: f64,
    /// Name of the metric.
    pub metric: String,
    /// What of several; empty when there is one.
    pub instance: String,
    /// The value, in the unit that the metric's name carries.
    pub value: f64,
}
