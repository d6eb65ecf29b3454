//! What a cloud knows of a hypervisor that ran before: enough to go on with it.

use std::time::Duration;

use hypervisor::Sessions;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Secret;

/// A hypervisor that is registered, as the cloud's records have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownHost {
    /// Its compute service.
    pub service: KnownService,
    /// Its compute node.
    pub node: KnownNode,
    /// Generation of its resource provider.
    pub provider_generation: u64,
    /// Time since its last beat.
    pub since_beat: Duration,
    /// The VMs that it has.
    pub vms: Vec<KnownVm>,
    /// The tokens that it has.
    pub tokens: Sessions<KnownToken>,
}

/// A token of Keystone's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownToken {
    /// The token.
    pub token: Secret,
    /// Until when it is used, in seconds since the epoch.
    pub until_unix_s: u64,
}

/// Columns of a compute service. Times are written as OpenStack's objects write them, `2026-11-23T05:57:35Z`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownService {
    /// Number.
    pub id: u64,
    /// UUID.
    pub uuid: Box<str>,
    /// Service version.
    pub version: u64,
    /// Beats so far.
    pub report_count: u64,
    /// Whether an operator has disabled it.
    pub disabled: bool,
    /// Why.
    pub disabled_reason: Option<Box<str>>,
    /// Whether an operator has called it down.
    pub forced_down: bool,
    /// Its last beat.
    pub last_seen_up: Option<Box<str>>,
    /// When it was made.
    pub created_at: Option<Box<str>>,
    /// When it was last changed.
    pub updated_at: Option<Box<str>>,
}

/// Columns of a compute node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownNode {
    /// Number.
    pub id: u64,
    /// UUID, which its resource provider has as well.
    pub uuid: Uuid,
    /// Whether it is mapped to a cell, as Nova counts that.
    pub mapped: u64,
    /// When it was made.
    pub created_at: Option<Box<str>>,
    /// When it was last changed.
    pub updated_at: Option<Box<str>>,
}

/// Columns of a VM that decide where it fits and what it is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownVm {
    /// UUID.
    pub uuid: Uuid,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Root and ephemeral disk in GiB.
    pub disk_gb: u64,
    /// `vm_state`.
    pub vm_state: Option<String>,
    /// `task_state`.
    pub task_state: Option<String>,
    /// The project that it belongs to.
    pub project: String,
    /// `power_state`.
    pub power_state: u8,
    /// `os_type`.
    pub os_type: Option<String>,
}
