//! `status`: what runs, how it is, and what it has used.

use serde::Serialize;

use crate::{
    Cloud, ManagedProcess, StateDir, UpError,
    config::{Secrets, Settings},
    identity::Session,
    install::find_release,
    ports::Ports,
    process::{
        load,
        procfs::{self, Usage},
    },
    ready,
    service::{self, Ready},
};

/// How a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "health", content = "why")]
pub enum Health {
    /// It answers as it should.
    Ok,
    /// It runs, and does not answer as it should.
    Failing(String),
    /// It has ended.
    Dead,
}

/// One process of a cloud.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessStatus {
    /// Which.
    #[serde(flatten)]
    pub process: ManagedProcess,
    /// How it is.
    #[serde(flatten)]
    pub health: Health,
    /// CPU time since its start, in seconds, its children's included.
    pub cpu_s: f64,
    /// Resident memory in bytes, its children's included.
    pub rss_bytes: u64,
}

/// Every process of the cloud, in the order of starts. A cloud that is down has them all dead.
///
/// # Errors
/// [`UpError::NoCloud`] when no cloud was brought up in this state folder to the end.
pub async fn status(state: &StateDir) -> Result<Vec<ProcessStatus>, UpError> {
    let cloud = Cloud::open(state)?;
    let settings = settings(state, &cloud)?;
    let session = Session::new(&settings);
    let config = crate::config::build(&settings)?;
    let services = service::all(&settings, &config);
    let mut processes = cloud.processes.clone();
    for record in load(state)? {
        processes.retain(|process| process.name != record.process.name);
        processes.push(record.process);
    }
    processes.sort_by_key(|process| services.iter().position(|s| s.launch.name == process.name).unwrap_or(usize::MAX));
    let usage = procfs::usage(&processes);
    let mut statuses = Vec::with_capacity(processes.len());
    for process in processes {
        let used = usage.get(&process.name).copied();
        let ready = services.iter().find(|s| s.launch.name == process.name).map(|s| &s.ready);
        let health = health(&process, ready, &settings, &session).await;
        let Usage { cpu_s, rss_bytes, .. } = used.unwrap_or_default();
        statuses.push(ProcessStatus { process, health, cpu_s, rss_bytes });
    }
    Ok(statuses)
}

async fn health(process: &ManagedProcess, ready: Option<&Ready>, settings: &Settings<'_>, session: &Session) -> Health {
    if !procfs::is_alive(process.pid, process.start_ticks) {
        return Health::Dead;
    }
    match ready::check(ready.unwrap_or(&Ready::Running), settings, session).await {
        Ok(()) => Health::Ok,
        Err(why) => Health::Failing(why),
    }
}

/// The settings that a cloud was brought up with.
pub(crate) fn settings<'a>(state: &'a StateDir, cloud: &'a Cloud) -> Result<Settings<'a>, UpError> {
    Ok(Settings {
        state,
        spec: &cloud.spec,
        release: find_release(&cloud.spec.release)?,
        ports: Ports::new(cloud.spec.base_port.unwrap_or(crate::DEFAULT_BASE_PORT))?,
        secrets: Secrets::of(state)?,
        mariadb_user: None,
        rabbitmq_user: None,
    })
}
