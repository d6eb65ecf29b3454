//! What can go wrong with the files of a run.

use std::{io, path::PathBuf, sync::Arc};

/// Why a run could not be recorded. The first such error ends the recording.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// A run is never written over another.
    #[error("{0} exists already: a run is recorded into a folder of its own; name another one or move this one away")]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot write {path}: {source}; the recording ends here, and what was written before can still be read")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A record has no form in its file: a time that is not a number, for example.
    #[error("cannot write a record to {path}: {reason}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What was wrong with the record.
        reason: String,
    },
}

impl RecordError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source: Arc::new(source) }
    }
}

/// Why a run folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no recording in the folder.
    #[error("{0} is not a run folder: it has no manifest.json")]
    NotARun(PathBuf),
    /// A file that every run has is missing or cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder was written by a newer harness.
    #[error(
        "{path}: the run folder has format {found}, this version reads formats up to {known}; use a newer kagemusha"
    )]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// A line is not what its file holds. The last line of a file may be torn, and is no error.
    #[error("{path}:{line}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}
