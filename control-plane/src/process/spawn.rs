//! Starting processes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{MARK, Record, procfs, save, stop::signal_group};
use crate::{ManagedProcess, StateDir, UpError};

/// A user to run as; `None` in its place means the user who runs the harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunAs {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A process that is to run.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) service: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Added to the small environment that every process gets.
    pub(crate) env: BTreeMap<&'static str, OsString>,
    pub(crate) run_as: Option<RunAs>,
    pub(crate) port: Option<u16>,
    pub(crate) order: u32,
    pub(crate) fingerprint: String,
    pub(crate) stop_within: Duration,
}

/// Starts a process in a group of its own and writes its record before anything else happens with it.
pub(crate) fn launch(state: &StateDir, launch: &Launch) -> Result<(Record, Child), UpError> {
    let step = || format!("start {}", launch.name);
    let log_path = state.log(&launch.name);
    let log = open_log(&log_path)?;
    let second = log.try_clone().map_err(|source| UpError::file(&log_path, source))?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.args).env_clear().envs(base_environment(state)).envs(&launch.env);
    command.current_dir(state.path()).stdin(Stdio::null()).stdout(log).stderr(second).process_group(0);
    if let Some(user) = launch.run_as {
        // Root's supplementary groups are dropped with the user.
        command.uid(user.uid).gid(user.gid).current_dir("/");
    }
    let mut child = command
        .spawn()
        .map_err(|error| UpError::step(step(), format!("cannot run {}: {error}", launch.program.display()), None))?;
    // The harness may go before its cloud, which does not inherit that.
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice < 0) {
        let _ended_already = rustix::process::setpriority_process(Pid::from_raw(child.id().cast_signed()), 0);
    }
    let Some(stat) = procfs::stat(child.id()) else {
        let _ = child.kill();
        return Err(UpError::step(step(), "it ended at once", Some(&log_path)));
    };
    let process = ManagedProcess {
        name: launch.name.clone(),
        service: launch.service.to_owned(),
        pid: child.id(),
        start_ticks: stat.start_ticks,
        port: launch.port,
        log_path,
    };
    let record = Record {
        process,
        order: launch.order,
        fingerprint: launch.fingerprint.clone(),
        stop_within_ms: launch.stop_within.as_millis() as u64,
    };
    save(state, &record)?;
    Ok((record, child))
}

/// Runs a command to its end, its output in a log. It is killed, with what it started, when the future is dropped.
pub(crate) async fn run_command(
    state: &StateDir,
    step: &str,
    log_name: &str,
    program: &Path,
    args: &[OsString],
    env: &BTreeMap<&'static str, OsString>,
) -> Result<(), UpError> {
    let log_path = state.log(log_name);
    // One attempt, one log: the end of the log is about this attempt.
    let _ = fs::remove_file(&log_path);
    let log = open_log(&log_path)?;
    let second = log.try_clone().map_err(|source| UpError::file(&log_path, source))?;
    let mut command = tokio::process::Command::new(program);
    command.args(args).env_clear().envs(base_environment(state)).envs(env);
    command.current_dir(state.path()).stdin(Stdio::null()).stdout(log).stderr(second);
    command.process_group(0);
    let cannot_run = |error| UpError::step(step, format!("cannot run {}: {error}", program.display()), None);
    let mut group = Group(command.spawn().map_err(cannot_run)?);
    let status = group.0.wait().await.map_err(cannot_run)?;
    if status.success() {
        return Ok(());
    }
    Err(UpError::step(step, format!("{} ended with {status}", program.display()), Some(&log_path)))
}

/// A process that leads a group, killed with the whole group when dropped before its end was seen.
struct Group(tokio::process::Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The id is known for as long as it cannot have been given to another process.
        if let Some(leader) = self.0.id() {
            signal_group(leader, Signal::KILL);
        }
    }
}

/// The environment of every process: nothing of the user's own (no proxy, no `OS_*`, no locale surprises).
fn base_environment(state: &StateDir) -> BTreeMap<&'static str, OsString> {
    let path =
        format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", state.venv().join("bin").display());
    BTreeMap::from([
        ("PATH", path.into()),
        ("HOME", state.join("run").into()),
        ("LANG", "C.UTF-8".into()),
        (MARK, state.path().into()),
    ])
}

fn open_log(path: &Path) -> Result<File, UpError> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|source| UpError::file(path, source))
}
