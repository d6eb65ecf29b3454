//! One run at a time on a cloud.

use std::fs::{File, OpenOptions};

use rustix::fs::{FlockOperation, flock};

use super::LiveError;
use crate::StateDir;

/// Held while a run works on the cloud of a state folder; the kernel lets go of it when the process ends, however it ends.
/// Who holds it may remove whatever earlier runs left.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`LiveError::Busy`] when another run has it.
    pub fn take(state: &StateDir) -> Result<Self, LiveError> {
        let path = state.join("run.lock");
        let shown = path.display().to_string();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|source| LiveError::File { path: shown.clone(), source })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(_) => Err(LiveError::Busy { lock: shown }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_has_to_wait() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(&folder.path().join("state"))).unwrap();
        state.create().unwrap();
        let first = RunLock::take(&state).unwrap();
        assert!(matches!(RunLock::take(&state), Err(LiveError::Busy { .. })));
        drop(first);
        RunLock::take(&state).unwrap();
    }
}
