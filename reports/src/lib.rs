//! From a recording to what people and machines read of it: figures, verdicts, the page.
//!
//! ```text
//! run folder ──► Recording ──► analyse ──► Analysis ──► summary.json · report.html · terminal
//!                                 └─ judge(&Summary, &[Gate])
//! ```
//! Everything between reading and writing is pure: the same folder gives the same bytes.

mod analysis;
mod edge;
mod error;
mod findings;
mod folder;
mod gates;
mod html;
mod replications;
mod summary;
mod table;
mod terminal;
mod words;

pub use analysis::{Analysis, analyse};
pub use edge::{
    EDGE, EDGE_PAGE, EdgeReport, End, Estimate, Next, Question, Search, Trial, Tried, edge_json, edge_terminal,
    write_edge,
};
pub use error::ReportError;
pub use folder::{REPORT, SUMMARY, replication_folders, summary_json, write};
pub use gates::judge;
pub use html::page;
pub use replications::{Figure, REPLICATIONS, Replications, replications, replications_json, replications_terminal};
pub use summary::{Finding, GateVerdict, Growth, Harness, Hypervisors, Operation, Process, Rpc, Summary, Verdict};
pub use terminal::terminal;
