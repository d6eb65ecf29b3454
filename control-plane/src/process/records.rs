//! The record of each process, in `processes/NAME.json` of the state folder.

use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::procfs;
use crate::{ManagedProcess, StateDir, UpError};

/// What is written down about a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) process: ManagedProcess,
    /// Place in the order of starts; stopping goes backwards.
    pub(crate) order: u32,
    /// Describes command, environment and configuration: a process whose fingerprint differs is started anew.
    pub(crate) fingerprint: String,
    /// How long it may take to end after SIGTERM, in milliseconds.
    pub(crate) stop_within_ms: u64,
}

impl Record {
    pub(crate) fn is_alive(&self) -> bool {
        procfs::is_alive(self.process.pid, self.process.start_ticks)
    }
}

/// Writes the record of a process that was just started.
pub(crate) fn save(state: &StateDir, record: &Record) -> Result<(), UpError> {
    state.write_json(&format!("processes/{}.json", record.process.name), record)
}

/// Removes the record of a process that is gone.
pub(crate) fn forget(state: &StateDir, name: &str) -> Result<(), UpError> {
    let path = state.join("processes").join(format!("{name}.json"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(UpError::file(&path, error)),
        _ => Ok(()),
    }
}

/// All records in the order of starts. One that a crash left half-written is skipped: its process carries the mark.
pub(crate) fn load(state: &StateDir) -> Result<Vec<Record>, UpError> {
    let folder = state.join("processes");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(UpError::file(&folder, source)),
    };
    let paths =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    let mut records: Vec<Record> =
        paths.filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok()).collect();
    records.sort_by(|a, b| (a.order, &a.process.name).cmp(&(b.order, &b.process.name)));
    Ok(records)
}
