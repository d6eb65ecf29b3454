//! The files between a target and the analysis: a run is a folder.
//!
//! Written as the run goes, so that a run that was interrupted or killed still shows what it saw. Every append-only file
//! may end in a torn line; readers drop it.
//!
//! | file | holds |
//! |---|---|
//! | `manifest.json` | [`Manifest`]: what was run, on what, when |
//! | `plan.json` | the resolved plan, as the target ran it |
//! | `outcome.json` | [`Outcome`]; absent when the run did not end by itself |
//! | `operations.jsonl` | one [`OperationRecord`] a line |
//! | `events.jsonl` | one [`Event`] a line |
//! | `series.csv` | `t_ms,metric,instance,value`: every time series, long form |
//! | `latency/<stream>.hlog` | HdrHistogram interval logs: microseconds, intervals of one second, in the standard format |
//! | `services/` | logs of the services |
//! | `summary.json`, `report.html` | made by analysis from the rest |

mod error;
mod hlog;
mod latency;
mod names;
mod phases;
mod read;
mod recorder;
mod text;
mod types;
mod writer;

pub use error::{ReadError, RecordError};
pub use hlog::{Interval, LatencyStream, merge};
pub use phases::BootMoments;
pub use read::{Points, Recording, Series};
pub use recorder::{Recorder, RpcResult, RpcStream};
pub use text::millis;
pub use types::{CalibrationFacts, Event, Manifest, OperationRecord, Outcome, OutcomeKind, Sample};
pub use writer::COUNTERS_EVERY;
