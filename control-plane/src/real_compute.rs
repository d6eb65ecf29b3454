//! An unmodified nova-compute with Nova's fake driver, beside the simulated hypervisors: the reference for memory and messages.

use std::{
    collections::BTreeMap,
    fs, io,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use mysql_async::prelude::FromRow;
use scenarios::{options::service_down_time, plan::OptionValue};

use crate::{
    Cloud, ManagedProcess, StateDir, UpError,
    config::{self, Settings},
    identity::Session,
    process::{Record, launch, load, procfs, stop_recorded},
    service,
    status::settings,
    watch::{Link, is_up, whole_s},
};

/// How long it may take until Nova takes it for up.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// In the log of one that will not start on a host like this.
const REFUSES: &str = "refusing to start";

/// The fake driver that keeps the identity of its node in its state folder, as other drivers do.
pub const KEEPS_ITS_NODE: &str = "fake.FakeDriverWithoutFakeNodes";

/// A nova-compute to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// `[DEFAULT] host`: letters, digits, `-` and `_`.
    pub host: String,
    /// What its host is called now, if that is not what it was when it was first started.
    pub renamed: Option<String>,
    /// `[DEFAULT] compute_driver`, of the fake drivers in `nova/virt/fake.py`.
    pub driver: String,
    /// Where it finds the services; `None`: where they are.
    pub wires: Option<Wires>,
    /// Further options of nova.conf as `section.name`, over those of the cloud's tuning.
    pub options: BTreeMap<String, OptionValue>,
}

/// Addresses that a nova-compute is given in place of the services' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wires {
    /// Port of the broker on 127.0.0.1.
    pub amqp_port: u16,
    /// URL of Keystone without `/v3`.
    pub identity_url: String,
    /// URL of Placement.
    pub placement_url: String,
    /// URL of Neutron without `/v2.0`.
    pub network_url: String,
    /// URL of Glance without `/v2`.
    pub image_url: String,
}

impl Spec {
    /// The plain fake driver, on the services' own addresses.
    pub fn plain(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            renamed: None,
            driver: "fake.FakeDriver".to_owned(),
            wires: None,
            options: BTreeMap::new(),
        }
    }
}

/// Starts a nova-compute and waits until Nova takes it for up. `down` stops it, or [`stop`].
///
/// Most fake drivers make up a new node identity at each start and never write it down, and Nova refuses a known host
/// without its identity. So what Nova remembers of an earlier nova-compute of this name is deleted first, unless the driver
/// is [`KEEPS_ITS_NODE`].
///
/// # Errors
/// When the name is none, Nova still has servers on that host, the process ends, or it is not up in time.
pub async fn start(cloud: &Cloud, spec: &Spec) -> Result<ManagedProcess, UpError> {
    let state = state_of(cloud)?;
    let settings = settings(&state, cloud)?;
    let (record, mut child) = begin(&settings, &state, cloud, spec).await?;
    let up = wait_up(&record, &spec.host, cloud, || child.try_wait().ok().flatten()).await;
    if up.is_err() {
        stop_recorded(&state, std::slice::from_ref(&record)).await?;
    }
    up.map(|()| record.process)
}

/// Starts a nova-compute that is to refuse to start, and waits until it has ended.
///
/// # Errors
/// When it ends otherwise, or is still there after two minutes.
pub async fn start_in_vain(cloud: &Cloud, spec: &Spec) -> Result<(), UpError> {
    let state = state_of(cloud)?;
    let settings = settings(&state, cloud)?;
    let (record, mut child) = begin(&settings, &state, cloud, spec).await?;
    let log = &record.process.log_path;
    let failed = |reason: String| UpError::step(format!("start {} in vain", record.process.name), reason, Some(log));
    let started = Instant::now();
    while started.elapsed() < UP_WITHIN {
        if let Some(status) = child.try_wait().ok().flatten() {
            let said = fs::read_to_string(log).map_err(|source| UpError::file(log, source))?;
            return match said.contains(REFUSES) {
                true => Ok(()),
                false => Err(failed(format!("it ended with {status} and did not say that it refuses"))),
            };
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop_recorded(&state, std::slice::from_ref(&record)).await?;
    Err(failed(format!("it did not end within {} s", UP_WITHIN.as_secs())))
}

async fn begin(
    settings: &Settings<'_>,
    state: &StateDir,
    cloud: &Cloud,
    spec: &Spec,
) -> Result<(Record, Child), UpError> {
    let host = spec.host.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if host.is_empty() || !host.chars().all(plain) {
        return Err(UpError::invalid(format!("`{host}` is no host name: letters, digits, - and _ only")));
    }
    let folder = format!("data/nova-compute/{host}");
    state.make_dir(&folder)?;
    let conf = state.join(&folder).join("nova.conf");
    state.write_private(&conf, config::compute_conf(settings, spec)?.as_bytes())?;
    let launch_it = service::real_compute(settings, host, &conf);
    if load(state)?.iter().any(|record| record.process.name == launch_it.name && record.is_alive()) {
        return Err(UpError::invalid(format!("{} runs already", launch_it.name)));
    }
    if spec.driver != KEEPS_ITS_NODE {
        forget_host(settings, cloud, host).await?;
    }
    launch(state, &launch_it)
}

/// A nova-compute of this host that [`start`] started, whether it got to its end or not.
///
/// # Errors
/// When the list of processes cannot be read.
pub fn find(cloud: &Cloud, host: &str) -> Result<Option<ManagedProcess>, UpError> {
    Ok(all(cloud)?.into_iter().find(|(name, _)| name == host).map(|(_, process)| process))
}

/// All of them that run, with their hosts.
///
/// # Errors
/// When the list of processes cannot be read.
pub fn all(cloud: &Cloud) -> Result<Vec<(String, ManagedProcess)>, UpError> {
    let alive = load(&state_of(cloud)?)?.into_iter().filter(Record::is_alive).map(|record| record.process);
    let with_host = |process: ManagedProcess| {
        let host = process.name.strip_prefix(service::REAL_COMPUTE_PREFIX)?.to_owned();
        Some((host, process))
    };
    Ok(alive.filter_map(with_host).collect())
}

/// Stops a nova-compute that [`start`] started, with SIGTERM first. Nova keeps what it knows of the host.
///
/// # Errors
/// When it survives SIGKILL.
pub async fn halt(cloud: &Cloud, process: &ManagedProcess) -> Result<(), UpError> {
    let state = state_of(cloud)?;
    let records: Vec<Record> = load(&state)?.into_iter().filter(|record| record.process == *process).collect();
    stop_recorded(&state, &records).await.map(drop)
}

/// Stops a nova-compute that [`start`] started, and deletes what Nova and Placement know of its host.
///
/// # Errors
/// When it survives SIGKILL, or Nova still has servers on its host.
pub async fn stop(cloud: &Cloud, process: &ManagedProcess) -> Result<(), UpError> {
    halt(cloud, process).await?;
    match process.name.strip_prefix(service::REAL_COMPUTE_PREFIX) {
        Some(host) => forget(cloud, host).await,
        None => Ok(()),
    }
}

/// Deletes what Nova and Placement know of the host of a nova-compute that [`start`] started and that does not run any more.
///
/// # Errors
/// When Nova still has servers on it.
pub async fn forget(cloud: &Cloud, host: &str) -> Result<(), UpError> {
    let state = state_of(cloud)?;
    forget_host(&settings(&state, cloud)?, cloud, host).await?;
    // Its node's identity goes with what was known of it.
    let folder = state.join(format!("data/nova-compute/{host}"));
    match fs::remove_dir_all(&folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(UpError::file(&folder, source)),
        _ => Ok(()),
    }
}

/// Deletes a compute service; Nova deletes its node, its host mapping and its resource provider with it.
async fn forget_host(settings: &Settings<'_>, cloud: &Cloud, host: &str) -> Result<(), UpError> {
    let session = Session::new(settings);
    // The session speaks the first version of the API, which knows numbers.
    for (id, _) in service_ids(cloud, host).await? {
        session.delete("nova", &format!("/v2.1/os-services/{id}")).await?;
    }
    Ok(())
}

/// What Nova's API calls the compute service of a host, before version 2.53 and from it on, by its records: for a list of one host the
/// API makes objects of all, which takes seconds when there are thousands.
///
/// # Errors
/// When the database cannot be asked.
pub(crate) async fn service_ids(cloud: &Cloud, host: &str) -> Result<Vec<(u64, String)>, UpError> {
    let query = format!("SELECT id, uuid FROM nova.services WHERE {}", service_of(host));
    let failed = |reason: String| UpError::step(format!("look for the nova-compute of {host}"), reason, None);
    Link::new(&cloud.database).rows(&query).await.map_err(failed)
}

fn service_of(host: &str) -> String {
    format!("`binary` = 'nova-compute' AND deleted = 0 AND host = '{host}'")
}

async fn wait_up(
    record: &Record,
    host: &str,
    cloud: &Cloud,
    mut ended: impl FnMut() -> Option<ExitStatus>,
) -> Result<(), UpError> {
    let log = &record.process.log_path;
    let failed = |reason: String| UpError::step(format!("start {}", record.process.name), reason, Some(log));
    let down_after_s = whole_s(service_down_time(&cloud.spec.release, &cloud.spec.tuning));
    let columns = "TIMESTAMPDIFF(SECOND, COALESCE(last_seen_up, created_at), UTC_TIMESTAMP()), COALESCE(forced_down, 0), \
                   report_count";
    let gone = || {
        let ended = || ended().map_or("it ended".to_owned(), |status| format!("it ended with {status}"));
        Ok((!procfs::is_alive(record.process.pid, record.process.start_ticks)).then(ended))
    };
    let mut first_beat = None;
    wait_for(cloud, (host, columns, UP_WITHIN), failed, gone, |(silent_s, forced_down, beats): (i64, bool, u64)| {
        // One that was forced down counts as down, alive or not.
        let beats_anew = forced_down && *first_beat.get_or_insert(beats) != beats;
        beats_anew || is_up(silent_s, forced_down, down_after_s)
    })
    .await
}

/// Waits until the nova-compute of this host, which [`start`] started anew, has sent its first heartbeat: it serves calls then.
///
/// # Errors
/// When it has ended, or sends none within this time: beside a fleet that comes up it takes as long as the cloud is busy with that.
pub(crate) async fn wait_for_a_beat(cloud: &Cloud, host: &str, within: Duration) -> Result<(), UpError> {
    let failed =
        |reason: String| UpError::step(format!("wait for a heartbeat of the nova-compute of {host}"), reason, None);
    let gone = || Ok(find(cloud, host)?.is_none().then(|| "it ended; its log says why".to_owned()));
    wait_for(cloud, (host, "report_count", within), failed, gone, |beats: u64| beats > 0).await
}

/// Waits until these columns of a host's compute service are as `wanted`; `gone` says how its nova-compute ended, once it has.
async fn wait_for<T: FromRow + Send + 'static>(
    cloud: &Cloud,
    (host, columns, within): (&str, &str, Duration),
    failed: impl Fn(String) -> UpError,
    mut gone: impl FnMut() -> Result<Option<String>, UpError>,
    mut wanted: impl FnMut(T) -> bool,
) -> Result<(), UpError> {
    let query = format!("SELECT {columns} FROM nova.services WHERE {}", service_of(host));
    let mut link = Link::new(&cloud.database);
    let started = Instant::now();
    loop {
        if let Some(how) = gone()? {
            return Err(failed(how));
        }
        let services = link.rows(&query).await.map_err(&failed)?;
        if services.into_iter().next().is_some_and(&mut wanted) {
            return Ok(());
        }
        if started.elapsed() > within {
            return Err(failed(format!("not within {} s", within.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The state folder that a cloud lies in.
fn state_of(cloud: &Cloud) -> Result<StateDir, UpError> {
    let path = cloud.venv.parent().expect("the environment lies in the state folder");
    fs::metadata(path).map_err(|source| UpError::file(path, source))?;
    StateDir::resolve(Some(path))
}
