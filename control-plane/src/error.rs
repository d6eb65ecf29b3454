//! What can go wrong with a cloud, said so that the reader knows what to do next.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::StateDir;

/// Why a cloud could not be brought up, opened, inspected or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpError {
    /// What was asked for cannot be done; the text says what to change.
    #[error("{0}")]
    Invalid(String),
    /// A file or folder of the cloud could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Programs are missing, and this user may not install them.
    #[error("these system packages are missing: {}\nInstall them as root, then try again:\n\n    {command}\n", packages.join(" "))]
    MissingPackages {
        /// Names of the distribution's packages.
        packages: Vec<String>,
        /// The command that installs exactly these.
        command: String,
    },
    /// A port that the cloud needs is taken.
    #[error(
        "port {port} on 127.0.0.1, for {purpose}, is in use by another process\n\
         Stop that process, or bring the cloud up on another range with `{} --base-port PORT`, which runs keep to \
         (a cloud that is in the state folder already keeps its own until `{}`)",
        state.command("up"),
        state.command("down --purge")
    )]
    PortInUse {
        /// The cloud's state folder.
        state: StateDir,
        /// The port.
        port: u16,
        /// What the cloud needs it for.
        purpose: String,
    },
    /// A step failed.
    #[error("{step}: {reason}{}", tail_text(log.as_deref(), tail))]
    Step {
        /// The step, as progress shows it.
        step: String,
        /// What happened.
        reason: String,
        /// Log of the process or command that the step is about.
        log: Option<PathBuf>,
        /// The end of that log.
        tail: String,
    },
    /// An answer of one of the cloud's APIs that is not what it should be.
    #[error("{request}: {answer}")]
    Api {
        /// Method and URL.
        request: String,
        /// Status and body, or why there was none.
        answer: String,
    },
    /// There is no cloud in this state folder.
    #[error("there is no cloud in {}; `{}` makes one", .0.path().display(), .0.command("up"))]
    NoCloud(StateDir),
    /// Another `kagemusha` brings this cloud up, stops it or loads it.
    #[error("another kagemusha (process {pid}) is working on {}; wait for it to end, or stop it: kill -INT {pid}", state.display())]
    Busy {
        /// The state folder.
        state: PathBuf,
        /// The other process.
        pid: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl UpError {
    /// Something asked for that cannot be done.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// A file that could not be read or written.
    pub fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    /// A step that failed, with the end of a log where there is one.
    pub fn step(step: impl Into<String>, reason: impl Into<String>, log: Option<&Path>) -> Self {
        let tail = log.map(tail).unwrap_or_default();
        Self::Step { step: step.into(), reason: reason.into(), log: log.map(Path::to_owned), tail }
    }
}

/// The innermost cause of an error says what happened; those around it repeat what was tried.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What became of a request, and of which: reqwest's own words are that it was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unanswered(String);

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        Self(match error.url() {
            // A status that is an error has no cause, and names its URL.
            Some(url) if !error.is_status() => format!("{url}: {}", innermost(&error)),
            _ => innermost(&error),
        })
    }
}

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 15;
/// Bytes read from the end of a log to find them.
const TAIL_BYTES: u64 = 16 * 1024;

/// The last lines of a file; empty when it cannot be read.
pub(crate) fn tail(path: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let Ok(mut file) = std::fs::File::open(path) else { return String::new() };
    let length = file.metadata().map(|meta| meta.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).is_err() || file.read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn tail_text(log: Option<&Path>, tail: &str) -> String {
    match log {
        None => String::new(),
        Some(log) if tail.is_empty() => format!("\n({} is empty)", log.display()),
        Some(log) => {
            let indented: Vec<String> = tail.lines().map(|line| format!("  | {line}")).collect();
            format!("\nThe end of {}:\n{}", log.display(), indented.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_shows_the_end_of_its_log_only() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        let text: Vec<String> = (1..=40).map(|n| format!("line {n}")).collect();
        std::fs::write(&log, text.join("\n")).unwrap();
        let shown = UpError::step("start x", "it ended with status 1", Some(&log)).to_string();
        assert!(shown.starts_with("start x: it ended with status 1\n"), "{shown}");
        assert!(shown.ends_with("  | line 40") && shown.contains("line 26") && !shown.contains("line 25\n"), "{shown}");
    }
}
