//! The records of a run folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was run, on what, when. Written before the first operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Wall-clock time of `t = 0`, RFC 3339, UTC.
    pub started_at: String,
    /// Machine facts: `cores`, `memory_bytes`, `kernel`, `cpu`.
    pub machine: BTreeMap<String, String>,
    /// Versions of the packages under test.
    pub packages: BTreeMap<String, String>,
    /// Options that differ from the release's defaults, as `service: section.name` (`nova: DEFAULT.report_interval`) to
    /// the value as the configuration file has it.
    pub tuning: BTreeMap<String, String>,
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
/// Metrics: `process.cpu_s` (cumulative), `process.rss_bytes` (instance: process name), `broker.connections`, `.channels`, `.queues`, `.consumers`,
/// `.messages_ready`, `.messages_unacked`, `.publish_per_s`, `.deliver_per_s`, `broker.queue_depth` (instance: queue),
/// `database.connections`, `.queries_total`, `.lock_waits_total`, `.threads_running`, `fleet.registered`, `fleet.up` (as Nova's
/// service list says), `fleet.rpc_calls_total`, `fleet.rpc_timeouts_total`, `machine.cpu_s` (cumulative, all processes of the machine), `rpc.count`, `rpc.failed`, `rpc.timed_out`
/// (cumulative, instance: call), `harness.cpu_s`, `harness.rss_bytes`, `harness.late_ms`.
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
