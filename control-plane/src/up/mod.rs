//! `up`: from nothing, or from whatever an earlier `up` left, to a cloud that answers.

mod bring_up;
mod processes;

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, pin::pin, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    Cloud, CloudSpec, DEFAULT_BASE_PORT, Progress, StateDir, UpError,
    config::{DATABASE_SOCKET, Secrets, Settings},
    database::{BASE_PORT_FILE, release_of},
    install::{self, find_release},
    lock::Lock,
    ports::Ports,
    process::RunAs,
    progress::Steps,
};
use bring_up::{BROKERS_FILE, BringUp};

/// A cloud that is up, and how it got there.
#[derive(Debug)]
pub struct Up {
    /// The cloud.
    pub cloud: Cloud,
    /// The right to work on it, for as long as this is held.
    pub lock: Lock,
    /// Names of the processes that this call started; none: the cloud was up already.
    pub started: Vec<String>,
    /// Each step of this call with its time.
    pub steps: Vec<(String, Duration)>,
}

/// Brings the cloud of a state folder up, and says what that took.
///
/// # Errors
/// Says which step of which process failed, with the end of its log. What this call started is stopped again, also when
/// SIGINT or SIGTERM ends it ([`UpError::Interrupted`]).
pub async fn bring_up(state: &StateDir, spec: &CloudSpec, progress: &dyn Progress) -> Result<Up, UpError> {
    let release = find_release(&spec.release)?;
    check_release(state, release.name)?;
    let asked = spec.resolved()?;
    check_socket_path(state)?;
    let spec = with_brokers(state, with_base_port(state, asked)?)?;
    let ports = Ports::new(spec.base_port.unwrap_or(DEFAULT_BASE_PORT))?;
    if !state.exists() {
        check_foreseeable(state, &spec, ports)?;
    }
    state.create()?;
    let lock = Lock::take(state)?;
    raise_file_limit();
    let steps = Steps::new(progress);
    let mut settings = Settings {
        state,
        spec: &spec,
        release,
        ports,
        secrets: Secrets::of(state)?,
        mariadb_user: None,
        rabbitmq_user: None,
    };
    let mut signals = Signals::listen()?;
    packages(state, &steps, &mut signals).await?;
    settings.mariadb_user = server_user(state, "mysql");
    settings.rabbitmq_user = server_user(state, "rabbitmq");
    if rustix::process::geteuid().is_root() && settings.mariadb_user.is_none() {
        steps.note(
            "the state folder lies in a folder of root's, so MariaDB and RabbitMQ run as root too; nothing to do",
        );
    }
    let bring_up = BringUp::new(&settings, &steps)?;
    let result = tokio::select! {
        result = bring_up.run() => result,
        () = signals.next() => Err(UpError::Interrupted),
    };
    let started = bring_up.processes.started();
    match result {
        Ok(cloud) => Ok(Up { cloud, lock, started, steps: steps.finish() }),
        Err(error) => {
            if !started.is_empty() {
                steps.note("stopping what was started");
            }
            bring_up.processes.stop_started().await?;
            Err(error)
        }
    }
}

/// What would stop a new cloud, told before there is anything to leave behind.
fn check_foreseeable(state: &StateDir, spec: &CloudSpec, ports: Ports) -> Result<(), UpError> {
    let missing = install::missing_packages();
    if !missing.is_empty() && !rustix::process::geteuid().is_root() {
        return Err(install::cannot_install(missing));
    }
    match ports.taken(spec.brokers.unwrap_or(1), |service| spec.wsgi[service].processes).first() {
        Some(&port) => {
            let purpose = format!("the cloud's range from {}", ports.base());
            Err(UpError::PortInUse { state: state.clone(), port, purpose })
        }
        None => Ok(()),
    }
}

/// Installs the system packages that are missing. A signal takes effect after that: a package manager that is killed
/// half-way leaves the machine broken, and one that is left alone works on behind the user's back.
async fn packages(state: &StateDir, steps: &Steps<'_>, signals: &mut Signals) -> Result<(), UpError> {
    let mut work = pin!(bring_up::packages(state, steps));
    tokio::select! {
        result = &mut work => result,
        () = signals.next() => {
            steps.note("stopping as soon as the package manager has ended, which must not be killed half-way");
            work.await.and(Err(UpError::Interrupted))
        }
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, UpError> {
        let to = |kind| signal(kind).map_err(|error| UpError::invalid(format!("cannot listen for signals: {error}")));
        Ok(Self { interrupt: to(SignalKind::interrupt())?, terminate: to(SignalKind::terminate())? })
    }

    /// Ends when one comes.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A cloud keeps its release: its schemas would have to be taken through every release between, and never back.
fn check_release(state: &StateDir, asked: &str) -> Result<(), UpError> {
    match release_of(state) {
        Some(made) if made != asked => Err(UpError::invalid(format!(
            "the cloud in {} is of release {made}, and {asked} is asked for: ask for {made} (up --release {made}, \
             run --set release={made}), choose another folder with --state DIR, or remove that cloud first: {}",
            state.path().display(),
            state.command("down --purge")
        ))),
        _ => Ok(()),
    }
}

/// The ports of a cloud are in its databases too, so it keeps those that these were made with.
fn with_base_port(state: &StateDir, mut spec: CloudSpec) -> Result<CloudSpec, UpError> {
    let made_with: Option<u16> = state.read_json(BASE_PORT_FILE)?;
    match (made_with, spec.base_port) {
        (Some(made), Some(asked)) if made != asked => Err(UpError::invalid(format!(
            "the cloud in {} was made with --base-port {made}; to change that, remove it first: {}",
            state.path().display(),
            state.command("down --purge")
        ))),
        (made, asked) => {
            spec.base_port = Some(made.or(asked).unwrap_or(DEFAULT_BASE_PORT));
            Ok(spec)
        }
    }
}

/// A node of the broker that leaves a cluster takes its queues with it, so a cloud keeps those that it was made with.
fn with_brokers(state: &StateDir, mut spec: CloudSpec) -> Result<CloudSpec, UpError> {
    let made_with: Option<u32> = state.read_json(BROKERS_FILE)?;
    // A cloud that was made before there was a choice has one.
    let made_with = made_with.or(release_of(state).map(|_| 1));
    match (made_with, spec.brokers) {
        (Some(made), Some(asked)) if made != asked => Err(UpError::invalid(format!(
            "RabbitMQ of the cloud in {} has {made} node{}, and {asked} are asked for (--brokers, or cloud.brokers of the \
             scenario): choose another folder with --state DIR, or remove that cloud first: {}",
            state.path().display(),
            if made == 1 { "" } else { "s" },
            state.command("down --purge")
        ))),
        (made, asked) => {
            spec.brokers = Some(made.or(asked).unwrap_or(1));
            Ok(spec)
        }
    }
}

/// Longest path of a Unix socket (unix(7): `sun_path` has 108 bytes, one for the end).
const SOCKET_PATH_BYTES: usize = 107;

fn check_socket_path(state: &StateDir) -> Result<(), UpError> {
    let socket = state.join(DATABASE_SOCKET);
    let room = SOCKET_PATH_BYTES - DATABASE_SOCKET.len() - 1;
    match socket.as_os_str().len() <= SOCKET_PATH_BYTES {
        true => Ok(()),
        false => Err(UpError::invalid(format!(
            "the path {} is too long for the database's socket; choose one of at most {room} bytes with --state DIR",
            state.path().display()
        ))),
    }
}

/// Raises the soft limit of open files to the hard one; what is started later inherits it.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // When it is refused, the lower limit stands, and `doctor` shows it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The system's user for a server, when this is root and that user can pass through to the state folder.
fn server_user(state: &StateDir, name: &str) -> Option<RunAs> {
    let passable = |folder: &Path| fs::metadata(folder).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    if !rustix::process::geteuid().is_root() || !state.path().ancestors().all(passable) {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let found: BTreeMap<&str, Vec<&str>> =
        users.lines().filter_map(|line| Some((line.split(':').next()?, line.split(':').collect()))).collect();
    let fields = found.get(name)?;
    Some(RunAs { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
}
