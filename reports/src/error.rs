//! What can go wrong between a run folder and its report.

use std::{io, path::PathBuf};

/// Why no report could be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run folder cannot be read.
    #[error(transparent)]
    Read(#[from] recording::ReadError),
    /// The plan of the run is not one of this version.
    #[error("{path}: not a plan that this version reads: {source}")]
    Plan {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
    /// The report cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
