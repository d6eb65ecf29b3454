//! One `kagemusha` at a time works on a state folder.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
};

use rustix::fs::{FlockOperation, flock};

use crate::{StateDir, UpError};

/// Held while `up` or `down` works; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(state: &StateDir) -> Result<Self, UpError> {
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
