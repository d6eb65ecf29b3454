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

    fn path(&self, operation: &str, variation: Variation) -> PathBuf {
        let swapped = if variation.swapped { "-swapped" } else { "" };
        self.folder.join(format!("{operation}-{}-nics{swapped}.json", variation.nics))
    }

    /// What was recorded of an operation before.
    ///
    /// # Errors
    /// When there is a file that is no recording.
    pub fn load(&self, operation: &str, variation: Variation) -> io::Result<Option<Take>> {
        match fs::read(self.path(operation, variation)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a recording; an earlier one of the same operation is replaced.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, operation: &str, take: &Take) -> io::Result<()> {
        let path = self.path(operation, take.variation);
        let unfinished = path.with_extension("part");
        fs::write(&unfinished, serde_json::to_vec(take)?)?;
        fs::rename(unfinished, path)
    }
}
