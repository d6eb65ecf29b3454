//! `down`: stops exactly what `up` started.

use std::fs;

use crate::{StateDir, UpError, lock::Lock, process::stop_all};

/// Stops every process of a state folder, latest first, and checks that none is left. With `purge` removes the folder.
/// Returns the names of what was stopped.
///
/// # Errors
/// When there is no cloud, another `kagemusha` works on it, a process survives SIGKILL, or the folder cannot be removed.
pub async fn down(state: &StateDir, purge: bool) -> Result<Vec<String>, UpError> {
    if !state.exists() {
        return Err(UpError::NoCloud(state.clone()));
    }
    let _lock = Lock::take(state)?;
    let stopped = stop_all(state).await?;
    if purge {
        fs::remove_dir_all(state.path()).map_err(|source| UpError::file(state.path(), source))?;
    }
    Ok(stopped)
}
