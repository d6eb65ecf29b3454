//! What the databases of the cloud know: the state that requests read and change.
//!
//! Kept as far as it decides what happens next: which hosts are known and when they were last seen, which servers there are
//! and where, who holds allocations, which ports. Changes take effect when the task that makes them commits.

use std::time::Duration;

use hypervisor::{Instance, Time};
use scenarios::plan::FleetPlan;
use uuid::Uuid;

use super::task::NONE;

/// A server's life as Nova's database has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerState {
    Building,
    Active,
    Error,
    Gone,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) state: ServerState,
    /// Its host, once one has claimed it.
    pub(crate) host: u32,
    pub(crate) project: u32,
    pub(crate) nics: u32,
    /// The user wants it gone.
    pub(crate) deleting: bool,
    pub(crate) ports: Vec<u32>,
    /// Hosts that it may still be tried on.
    pub(crate) alternates: Vec<u32>,
    /// Hosts that it was tried on.
    pub(crate) attempts: u32,
    /// Where Placement has its allocation.
    pub(crate) allocated_on: u32,
    pub(crate) changed: Time,
    pub(crate) fault: Option<String>,
    pub(crate) moments: Moments,
}

/// When a boot passed the points that its phases lie between.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    pub(crate) scheduling_asked: Option<Time>,
    pub(crate) scheduling_took: Option<Duration>,
    pub(crate) received: Option<Time>,
    pub(crate) network_started: Option<Time>,
    pub(crate) network_allocated: Option<Time>,
    pub(crate) spawn_started: Option<Time>,
    pub(crate) active: Option<Time>,
}

/// A compute service, its node and its resource provider.
#[derive(Debug)]
pub(crate) struct HostFacts {
    pub(crate) service: bool,
    pub(crate) node: bool,
    pub(crate) provider: bool,
    pub(crate) inventory: bool,
    /// `last_seen_up`, by the clock of whoever wrote it; `None`: never.
    pub(crate) last_seen_ns: Option<i64>,
    /// When its agent last reported, likewise.
    pub(crate) agent_seen_ns: Option<i64>,
    /// `consecutive_build_service_disable_threshold` was reached.
    pub(crate) disabled: bool,
    /// Servers whose host it is.
    pub(crate) servers: Vec<u32>,
    /// Consumers with allocations.
    pub(crate) consumers: Vec<u32>,
    /// What its compute node record says.
    pub(crate) usage: Counts,
    /// Generation of the resource provider.
    pub(crate) generation: u32,
}

/// What the scheduler reads of a node's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// VMs.
    pub(crate) instances: i64,
    /// VMs being built.
    pub(crate) building: i64,
    /// Builds that failed since the last success.
    pub(crate) failed_builds: i64,
}

/// What a server needs: one size for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flavor {
    pub(crate) vcpus: u32,
    pub(crate) memory_mb: u64,
    pub(crate) disk_gb: u64,
}

/// The smallest flavor: the classic `m1.tiny`, as live runs boot it.
pub(crate) const FLAVOR: Flavor = Flavor { vcpus: 1, memory_mb: 512, disk_gb: 1 };

/// All of it.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) hosts: Vec<HostFacts>,
    pub(crate) servers: Vec<Server>,
    /// Server of each port.
    pub(crate) ports: Vec<u32>,
    /// Hosts with a service record.
    pub(crate) compute_services: u32,
    /// Hosts that can be candidates: those with inventory, in the order Placement lists them.
    pub(crate) providers: Vec<u32>,
    /// Servers that are not gone, by project.
    pub(crate) of_project: Vec<u32>,
    /// Servers that one host has room for.
    pub(crate) room: u32,
}

impl Facts {
    pub(crate) fn new(fleet: &FleetPlan, projects: u32) -> Self {
        let blank = |_| HostFacts {
            service: false,
            node: false,
            provider: false,
            inventory: false,
            last_seen_ns: None,
            agent_seen_ns: None,
            disabled: false,
            servers: Vec::new(),
            consumers: Vec::new(),
            usage: Counts::default(),
            generation: 0,
        };
        let offered = &fleet.resources;
        let fits = [
            f64::from(offered.vcpus) * offered.cpu_allocation_ratio / f64::from(FLAVOR.vcpus),
            offered.memory_mb as f64 * offered.ram_allocation_ratio / FLAVOR.memory_mb as f64,
            offered.local_gb as f64 * offered.disk_allocation_ratio / FLAVOR.disk_gb as f64,
        ];
        Self {
            hosts: (0..fleet.hypervisors).map(blank).collect(),
            servers: Vec::new(),
            ports: Vec::new(),
            compute_services: 0,
            providers: Vec::new(),
            of_project: vec![0; projects.max(1) as usize],
            room: fits.into_iter().fold(f64::MAX, f64::min).max(0.0) as u32,
        }
    }

    pub(crate) fn host(&mut self, host: u32) -> &mut HostFacts {
        &mut self.hosts[host as usize]
    }

    pub(crate) fn server(&mut self, server: u32) -> &mut Server {
        &mut self.servers[server as usize]
    }

    /// A new server, in BUILD and nowhere yet.
    pub(crate) fn add_server(&mut self, project: u32, nics: u32, now: Time) -> u32 {
        let server = Server {
            state: ServerState::Building,
            host: NONE,
            project,
            nics,
            deleting: false,
            ports: Vec::new(),
            alternates: Vec::new(),
            attempts: 0,
            allocated_on: NONE,
            changed: now,
            fault: None,
            moments: Moments::default(),
        };
        self.servers.push(server);
        self.of_project[project as usize] += 1;
        u32::try_from(self.servers.len() - 1).expect("a plan has fewer servers")
    }

    /// A server that runs already when the run begins.
    pub(crate) fn place_server(&mut self, project: u32, host: u32) {
        let server = self.add_server(project, 0, Time::ZERO);
        let facts = self.server(server);
        (facts.state, facts.host, facts.allocated_on) = (ServerState::Active, host, host);
        self.host(host).servers.push(server);
        self.host(host).consumers.push(server);
    }

    /// The server belongs to this host, or with `NONE` to none.
    pub(crate) fn move_to(&mut self, server: u32, host: u32) {
        let before = std::mem::replace(&mut self.server(server).host, host);
        if before == host {
            return;
        }
        if before != NONE {
            self.host(before).servers.retain(|candidate| *candidate != server);
        }
        if host != NONE {
            self.host(host).servers.push(server);
        }
    }

    /// Placement allocates for the server on this host, or with `NONE` nowhere.
    pub(crate) fn allocate(&mut self, server: u32, host: u32) {
        let before = std::mem::replace(&mut self.server(server).allocated_on, host);
        if before != NONE {
            let of = self.host(before);
            of.consumers.retain(|candidate| *candidate != server);
            of.generation = of.generation.wrapping_add(1);
        }
        if host != NONE {
            let of = self.host(host);
            of.consumers.push(server);
            of.generation = of.generation.wrapping_add(1);
        }
    }

    /// The server's row is gone.
    pub(crate) fn remove_server(&mut self, server: u32, now: Time) {
        if self.server(server).state == ServerState::Gone {
            return;
        }
        self.move_to(server, NONE);
        let facts = self.server(server);
        (facts.state, facts.changed) = (ServerState::Gone, now);
        let project = facts.project as usize;
        self.of_project[project] -= 1;
    }

    /// A port of a server.
    pub(crate) fn add_port(&mut self, server: u32) -> u32 {
        self.ports.push(server);
        let port = u32::try_from(self.ports.len() - 1).expect("a plan has fewer ports");
        self.server(server).ports.push(port);
        port
    }

    /// The servers of a host, as nova-compute learns of them.
    pub(crate) fn instances_of(&self, host: u32) -> Vec<Instance> {
        self.hosts[host as usize].servers.iter().map(|server| instance(*server)).collect()
    }
}

/// Servers and ports are numbered; their UUIDs carry the number.
const SERVER_UUIDS: u128 = 0x5e21_0000_0000_4000_8000_0000_0000_0000;
const PORT_UUIDS: u128 = 0x9021_0000_0000_4000_8000_0000_0000_0000;

pub(crate) fn server_uuid(server: u32) -> Uuid {
    Uuid::from_u128(SERVER_UUIDS | u128::from(server))
}

pub(crate) fn port_uuid(port: u32) -> Uuid {
    Uuid::from_u128(PORT_UUIDS | u128::from(port))
}

/// The number in a UUID of ours.
pub(crate) fn number_of(uuid: Uuid) -> u32 {
    uuid.as_u128() as u32
}

/// A server as its hypervisor has to know it.
pub(crate) fn instance(server: u32) -> Instance {
    Instance {
        uuid: server_uuid(server),
        vcpus: FLAVOR.vcpus,
        memory_mb: FLAVOR.memory_mb,
        disk_gb: FLAVOR.disk_gb,
        vm_state: "active",
        task_state: None,
        project: "".into(),
        power_state: 1,
        os_type: None,
    }
}
