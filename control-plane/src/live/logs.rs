//! What the services logged during the run, bounded.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::ManagedProcess;

/// The most that is kept of one log: its end, where the trouble is.
const KEPT_BYTES: u64 = 1 << 20;

/// Logs of the services, and how long each was when the run began.
pub(super) struct Logs(Vec<(PathBuf, u64)>);

impl Logs {
    pub(super) fn begin(processes: &[ManagedProcess]) -> Self {
        let length = |path: &Path| path.metadata().map_or(0, |file| file.len());
        Self(processes.iter().map(|process| (process.log_path.clone(), length(&process.log_path))).collect())
    }

    /// Copies into the folder what was written since, at most [`KEPT_BYTES`] of each.
    pub(super) fn copy_to(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (path, begun_at) in &self.0 {
            let Some(name) = path.file_name() else { continue };
            let tail = tail(path, *begun_at)?;
            if !tail.is_empty() {
                fs::write(folder.join(name), tail)?;
            }
        }
        Ok(())
    }
}

fn tail(path: &Path, begun_at: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let length = file.metadata()?.len();
    // Shorter than it was: begun anew.
    let new_from = if length < begun_at { 0 } else { begun_at };
    let from = new_from.max(length.saturating_sub(KEPT_BYTES));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(KEPT_BYTES).read_to_end(&mut bytes)?;
    if from > new_from {
        let cut = format!("[{} bytes before this are not kept]\n", from - new_from);
        bytes.splice(0..0, cut.into_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_what_the_run_saw_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(&path, "before\nduring\n").unwrap();
        assert_eq!(tail(&path, 7).unwrap(), b"during\n");
        fs::write(&path, vec![b'x'; KEPT_BYTES as usize + 5]).unwrap();
        let kept = tail(&path, 3).unwrap();
        assert!(kept.starts_with(b"[2 bytes before this are not kept]\nxxx"));
        assert_eq!(tail(&folder.path().join("absent.log"), 0).unwrap(), b"");
    }
}
