//! The folder that holds everything of one cloud.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::UpError;

/// The folder of one cloud: configuration, data, logs, process records and the Python environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The folder that was asked for; else `$XDG_STATE_HOME/kagemusha`; else `~/.local/state/kagemusha`.
    ///
    /// # Errors
    /// When neither is known, or the current folder cannot be read to make the path absolute.
    pub fn resolve(asked: Option<&Path>) -> Result<Self, UpError> {
        let path = match asked {
            Some(path) => path.to_owned(),
            None => default_path().ok_or_else(|| {
                UpError::invalid("cannot tell where to keep the cloud: HOME is not set; name a folder with --state DIR")
            })?,
        };
        let absolute = std::path::absolute(&path).map_err(|source| UpError::file(&path, source))?;
        Ok(Self(absolute))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside the folder.
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// A command on this cloud, as it has to be typed.
    pub fn command(&self, verb: &str) -> String {
        match default_path() {
            Some(path) if path == self.0 => format!("kagemusha {verb}"),
            _ => format!("kagemusha {verb} --state {}", self.0.display()),
        }
    }

    /// The Python environment.
    pub fn venv(&self) -> PathBuf {
        self.join("venv")
    }

    /// A program of the Python environment.
    pub fn venv_bin(&self, program: &str) -> PathBuf {
        self.venv().join("bin").join(program)
    }

    /// Where the configuration of a service lies.
    pub fn etc(&self, service: &str) -> PathBuf {
        self.join("etc").join(service)
    }

    /// The log of a process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.join("logs").join(format!("{process}.log"))
    }

    /// Whether a cloud was ever begun here.
    pub fn exists(&self) -> bool {
        self.join(MARKER).exists()
    }

    /// Makes the folder and marks it as a cloud's, so that `down --purge` never removes a folder of something else.
    ///
    /// # Errors
    /// When the folder holds other things already, or cannot be written.
    pub fn create(&self) -> Result<(), UpError> {
        if self.exists() {
            return Ok(());
        }
        if fs::read_dir(&self.0).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(UpError::invalid(format!(
                "{} is not empty and holds no cloud of kagemusha; choose another folder with --state DIR",
                self.0.display()
            )));
        }
        self.make_dir("")?;
        for folder in ["etc", "logs", "processes", "done", "run", "data"] {
            self.make_dir(folder)?;
        }
        self.write_private(MARKER, b"A cloud of kagemusha. `kagemusha down --purge` removes this folder.\n")
    }

    /// Makes a folder inside (mode 0711: another user's daemon may pass through to its own data, and list nothing).
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_dir(&self, relative: impl AsRef<Path>) -> Result<PathBuf, UpError> {
        let path = self.join(relative);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&path)
            .map_err(|source| UpError::file(&path, source))?;
        Ok(path)
    }

    /// Writes a file of mode 0600, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_private(&self, relative: impl AsRef<Path>, content: &[u8]) -> Result<(), UpError> {
        let path = self.join(relative);
        write_private(&path, content).map_err(|source| UpError::file(&path, source))
    }

    /// Writes a value as JSON into a file of mode 0600.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_json(&self, relative: &str, value: &impl Serialize) -> Result<(), UpError> {
        let text = serde_json::to_vec_pretty(value).expect("values of this crate have text keys only");
        self.write_private(relative, &text)
    }

    /// Reads a value that [`StateDir::write_json`] wrote; `None` when the file is not there.
    ///
    /// # Errors
    /// When the file cannot be read, or is none of this version.
    pub fn read_json<T: DeserializeOwned>(&self, relative: &str) -> Result<Option<T>, UpError> {
        let path = self.join(relative);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(UpError::file(&path, source)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let advice = "another version of kagemusha may have written it: `up` writes a cloud's files anew, a snapshot has to be made anew";
            UpError::file(&path, io::Error::other(format!("{error}; {advice}")))
        })
    }

    /// Whether a step that needs doing once was done, in the form that `fingerprint` describes.
    pub fn is_done(&self, step: &str, fingerprint: &str) -> bool {
        self.done_as(step).is_some_and(|text| text == fingerprint)
    }

    /// The fingerprint of what a step that needs doing once has done; `None`: nothing yet.
    pub(crate) fn done_as(&self, step: &str) -> Option<String> {
        fs::read_to_string(self.join("done").join(step)).ok()
    }

    /// Notes that a step was done. Only after its success.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn mark_done(&self, step: &str, fingerprint: &str) -> Result<(), UpError> {
        self.write_private(Path::new("done").join(step), fingerprint.as_bytes())
    }
}

/// The file that marks a folder as a cloud's.
const MARKER: &str = "KAGEMUSHA";

fn default_path() -> Option<PathBuf> {
    let base = match env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(env::var_os("HOME").filter(|value| !value.is_empty())?).join(".local/state"),
    };
    Some(base.join("kagemusha"))
}

/// Writes beside the file and renames, so that a reader or a crash never meets half a file.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("writing");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    io::Write::write_all(&mut file, content)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(&folder.path().join("state"))).unwrap();
        (folder, state)
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let (_guard, state) = temporary();
        fs::create_dir(state.path()).unwrap();
        fs::write(state.join("thesis.tex"), "years of work").unwrap();
        let error = state.create().unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        assert!(!state.exists());
    }

    #[test]
    fn private_files_are_private_and_come_back() {
        let (_guard, state) = temporary();
        state.create().unwrap();
        state.create().unwrap();
        state.write_json("value.json", &vec![1, 2]).unwrap();
        let mode = fs::metadata(state.join("value.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(state.read_json::<Vec<u8>>("value.json").unwrap(), Some(vec![1, 2]));
        assert_eq!(state.read_json::<Vec<u8>>("absent.json").unwrap(), None);
    }

    #[test]
    fn a_step_is_done_only_in_the_same_form() {
        let (_guard, state) = temporary();
        state.create().unwrap();
        assert!(!state.is_done("venv", "a"));
        state.mark_done("venv", "a").unwrap();
        assert!(state.is_done("venv", "a"));
        assert!(!state.is_done("venv", "b"));
    }
}
