//! `doctor`: says beforehand what `up` would miss, and how to get it.

use std::{fs, path::Path};

use rustix::{
    fs::statvfs,
    process::{Resource, getrlimit},
};
use scenarios::options::wsgi_defaults;
use serde::Serialize;

use crate::{
    Cloud, DEFAULT_BASE_PORT, DEFAULT_RELEASE, StateDir, UpError,
    install::{PYTHON, install_command, missing_packages},
    ports::Ports,
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it matters.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when all is well.
    pub remedy: String,
}

/// How a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Enough.
    Ok,
    /// `up` works, with less room than it might have.
    Warning,
    /// `up` would fail.
    Missing,
}

/// Free space that a cloud takes: environment 600 MB, databases 300 MB, logs.
const DISK_BYTES: u64 = 2 << 30;
/// Free memory that a cloud takes when idle, and some for load (measured: 2 GB resident when idle).
const MEMORY_BYTES: u64 = 3 << 30;
/// Open files that RabbitMQ needs for a fleet of a thousand hypervisors with a connection or four each.
const FILES: u64 = 8_192;

/// Looks at everything that `up` needs.
///
/// # Errors
/// When the base port leaves no room for the cloud's range.
pub fn doctor(state: &StateDir, base_port: Option<u16>) -> Result<Vec<Finding>, UpError> {
    Ok(vec![packages(), python(), files(), disk(state), memory(), free_ports(state, base_port)?])
}

fn finding(subject: &'static str, verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    let remedy = if verdict == Verdict::Ok { String::new() } else { remedy.into() };
    Finding { subject, verdict, found: found.into(), remedy }
}

fn packages() -> Finding {
    let missing = missing_packages();
    let root = rustix::process::geteuid().is_root();
    match (missing.is_empty(), root) {
        (true, _) => finding("system packages", Verdict::Ok, "all there", ""),
        (false, true) => {
            finding("system packages", Verdict::Ok, format!("`up` will install {}", missing.join(" ")), "")
        }
        (false, false) => {
            let remedy = format!("as root: {}", install_command(&missing));
            finding("system packages", Verdict::Missing, format!("missing: {}", missing.join(" ")), remedy)
        }
    }
}

fn python() -> Finding {
    let installable = rustix::process::geteuid().is_root() && is_debian_12();
    match (Path::new(PYTHON).exists(), installable) {
        (true, _) => finding("Python 3.11", Verdict::Ok, PYTHON, ""),
        (false, true) => finding("Python 3.11", Verdict::Ok, "`up` will install it", ""),
        (false, false) => {
            finding("Python 3.11", Verdict::Missing, format!("no {PYTHON}"), "use Debian 12, or its package python3")
        }
    }
}

fn is_debian_12() -> bool {
    fs::read_to_string("/etc/debian_version").is_ok_and(|text| text.starts_with("12"))
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let verdict = if limit >= FILES { Verdict::Ok } else { Verdict::Warning };
    let connections = limit.saturating_mul(9) / 10;
    let found = format!(
        "hard limit {limit}: about {connections} AMQP connections for each process of the harness and each node of RabbitMQ"
    );
    finding("open files", verdict, found, format!("raise the hard limit to {FILES} or more (limits.conf, ulimit -Hn)"))
}

fn disk(state: &StateDir) -> Finding {
    let exists = state.path().ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let free_bytes = statvfs(exists).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let verdict = if free_bytes >= DISK_BYTES { Verdict::Ok } else { Verdict::Missing };
    let found = format!("{} free at {}", gib(free_bytes), exists.display());
    finding("disk", verdict, found, format!("free {}, or use another disk with --state DIR", gib(DISK_BYTES)))
}

fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = available.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
    let verdict = if kib * 1024 >= MEMORY_BYTES { Verdict::Ok } else { Verdict::Warning };
    finding("memory", verdict, format!("{} available", gib(kib * 1024)), format!("{} should be", gib(MEMORY_BYTES)))
}

/// The ports of a small cloud; those of a cloud that is up here are its own.
fn free_ports(state: &StateDir, base_port: Option<u16>) -> Result<Finding, UpError> {
    let cloud = Cloud::open(state).ok();
    let base = base_port.or(cloud.as_ref().and_then(|cloud| cloud.spec.base_port)).unwrap_or(DEFAULT_BASE_PORT);
    let ports = Ports::new(base)?;
    let up = cloud.is_some_and(|cloud| {
        cloud.spec.base_port == Some(base)
            && cloud.processes.iter().any(|p| crate::process::procfs::is_alive(p.pid, p.start_ticks))
    });
    if up {
        return Ok(finding("ports", Verdict::Ok, format!("from {base}, in use by the cloud that is up"), ""));
    }
    let wsgi = wsgi_defaults(DEFAULT_RELEASE);
    let taken = ports.taken(1, |service| wsgi[service].processes);
    let taken: Vec<String> = taken.iter().map(u16::to_string).collect();
    Ok(match taken.is_empty() {
        true => finding("ports", Verdict::Ok, format!("free from {base}"), ""),
        false => {
            let found = format!("in use by other processes: {}", taken.join(", "));
            let remedy = format!("choose another range with `{} --base-port PORT`", state.command("up"));
            finding("ports", Verdict::Missing, found, remedy)
        }
    })
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}
