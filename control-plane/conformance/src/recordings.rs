//! Recordings kept in a folder: one file for each time that an operation was done.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{run::Recorded, scene::Variation};

/// An operation, done once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Take {
    /// Release of the cloud.
    pub release: String,
    /// How the operation was varied.
    pub variation: Variation,
    /// One for each kind of hypervisors, the real ones first.
    pub recorded: Vec<Recorded>,
}

/// A folder of recordings.
#[derive(Debug, Clone)]
pub struct Recordings {
    folder: PathBuf,
}

impl Recordings {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, operation: &str, variation: Variation, attempt: usize) -> PathBuf {
        let swapped = if variation.swapped { "-swapped" } else { "" };
        let attempt = if attempt == 1 { String::new() } else { format!("-attempt-{attempt}") };
        self.folder.join(format!("{operation}-{}-nics{swapped}{attempt}.json", variation.nics))
    }

    /// What was recorded of an operation before.
    ///
    /// # Errors
    /// When there is a file that is no recording.
    pub fn load(&self, operation: &str, variation: Variation) -> io::Result<Option<Take>> {
        match fs::read(self.path(operation, variation, 1)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a recording of an attempt, the first of which is number one; those that are there of it and of later ones are replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, operation: &str, attempt: usize, take: &Take) -> io::Result<()> {
        let path = self.path(operation, take.variation, attempt);
        let later = (attempt + 1..).map(|attempt| self.path(operation, take.variation, attempt));
        later.take_while(|path| fs::remove_file(path).is_ok()).for_each(drop);
        let unfinished = path.with_extension("part");
        fs::write(&unfinished, serde_json::to_vec(take)?)?;
        fs::rename(unfinished, path)
    }
}
