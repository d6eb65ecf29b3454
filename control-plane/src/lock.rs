//! One `kagemusha` at a time works on a state folder.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
};

use rustix::fs::{FlockOperation, flock};

use crate::{StateDir, UpError};

/// Held by who brings the cloud of a state folder up, stops it, or loads it, so that nobody takes it away under a run; the
/// kernel lets go of it when the process ends, however it ends. Who holds it may remove whatever earlier runs left.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a state folder that exists.
    ///
    /// # Errors
    /// [`UpError::Busy`] when another process has it.
    pub fn take(state: &StateDir) -> Result<Self, UpError> {
        let path = state.join("lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(|source| UpError::file(&path, source))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            return Err(UpError::Busy { state: state.path().to_owned(), pid: pid.trim().to_owned() });
        }
        let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(|source| UpError::file(&path, source))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(&folder.path().join("state"))).unwrap();
        state.create().unwrap();
        let first = Lock::take(&state).unwrap();
        let refused = Lock::take(&state).unwrap_err();
        assert!(matches!(&refused, UpError::Busy { pid, .. } if *pid == std::process::id().to_string()), "{refused}");
        drop(first);
        Lock::take(&state).unwrap();
    }
}
