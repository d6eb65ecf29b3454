//! What comes back to a simulated hypervisor.

use std::{rc::Rc, time::Duration};

use uuid::Uuid;

use crate::AgentPort;

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// Done; nothing in it that decides what comes next.
    Done,
    /// A token.
    Token {
        /// For how long.
        lasts: Duration,
    },
    /// Whether what was asked for exists.
    Found(bool),
    /// VMs that Nova has on this host.
    Instances(Vec<Instance>),
    /// Consumers with allocations against this provider.
    Consumers(Vec<Uuid>),
    /// VMs by their UUIDs.
    Uuids(Vec<Uuid>),
    /// A port that was created.
    Port(Uuid),
    /// The ports of the VM, as its network information has them.
    Ports(Vec<Uuid>),
    /// A port as an L2 agent has to know it; `None`: there is none, or not any more.
    AgentPort(Option<AgentPort>),
    /// The groups that rules name on the other side.
    Remotes {
        /// Security groups.
        groups: Vec<Uuid>,
        /// Address groups.
        address_groups: Vec<Uuid>,
    },
    /// Security groups.
    Groups(Vec<Uuid>),
    /// The agent that reports was taken for dead.
    Revived,
    /// The compute node of this identity belongs to another host.
    OfAnotherHost,
    /// A VM as it is by now.
    Refreshed {
        /// Whether it is on this host and has no task.
        settled: bool,
        /// `power_state` of its record.
        power_state: u8,
        /// `vm_state` of its record.
        vm_state: &'static str,
    },
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No answer in time.
    TimedOut,
    /// The other side raised: class name of the exception.
    Remote(String),
    /// The HTTP API answered with this status.
    Http(u16),
    /// No connection.
    Disconnected,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Remote(class) => write!(f, "remote {class}"),
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Disconnected => f.write_str("disconnected"),
        }
    }
}

/// A VM as far as the hypervisor has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Nova's UUID.
    pub uuid: Uuid,
    /// Virtual CPUs of its flavor.
    pub vcpus: u32,
    /// Memory of its flavor in MiB.
    pub memory_mb: u64,
    /// Root and ephemeral disk of its flavor in GiB.
    pub disk_gb: u64,
    /// `vm_state` of its record.
    pub vm_state: &'static str,
    /// `task_state` of its record.
    pub task_state: Option<&'static str>,
    /// The project that it belongs to.
    pub project: Rc<str>,
    /// `power_state` of its record.
    pub power_state: u8,
    /// `os_type` of its record.
    pub os_type: Option<Rc<str>>,
}
