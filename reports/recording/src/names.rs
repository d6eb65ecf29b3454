//! The names of a run folder's files and of the streams that the recorder itself fills.

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const PLAN: &str = "plan.json";
pub(crate) const OUTCOME: &str = "outcome.json";
pub(crate) const OPERATIONS: &str = "operations.jsonl";
pub(crate) const EVENTS: &str = "events.jsonl";
pub(crate) const SERIES: &str = "series.csv";
pub(crate) const SERIES_HEADER: &str = "t_ms,metric,instance,value";
pub(crate) const LATENCY: &str = "latency";

/// How late each operation of the load started. Whatever else of the harness keeps time has a stream beside it, below
/// `harness/`.
pub(crate) const HARNESS_LATE_OPERATIONS: &str = "harness/operations";
