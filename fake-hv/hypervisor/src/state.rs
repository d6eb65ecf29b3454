//! What one hypervisor knows: its VMs, their ports, the resources in use.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ComputeOptions, Delay, Instance, InstanceState, LazyField, Resources, Sessions, Time, Times,
    lock::{FairSemaphore, InstanceLockName, LockName},
    power_state,
    resources::Provider,
    tracker::Tracker,
    wiring::AgentWork,
};

/// What does not change while a hypervisor runs; shared by the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Options of nova-compute and of the L2 agent.
    pub options: ComputeOptions,
    /// What the host offers.
    pub resources: Resources,
    /// How long real work would take.
    pub times: Times,
    /// What the virt driver under nova-compute does.
    pub driver: Driver,
    /// Which services run on the host.
    pub services: Services,
    /// What its release does otherwise than others.
    pub habits: Habits,
}

/// What the services of a release do otherwise than those of others, apart from what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// Whether it looks for the shares of a VM before it shuts it down.
    pub looks_for_shares: bool,
    /// What it loads of each VM when it starts, beyond what it has read.
    pub loads_at_start: &'static [LazyField],
    /// How often a thread looks whether the answer to its RPC call has come; `None`: it is woken by it.
    pub looks_for_reply_each: Option<Duration>,
}

impl Default for Habits {
    /// Those of release 2026.2.
    fn default() -> Self {
        Self { looks_for_shares: true, loads_at_start: &[], looks_for_reply_each: None }
    }
}

/// What differs between virt drivers and shows on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Driver {
    /// As libvirt's: it plugs ports into the bridge, where the L2 agent finds them, and waits until they are wired; guests
    /// outlive nova-compute.
    #[default]
    Plugging,
    /// As Nova's fake driver: ports are not plugged, and guests are forgotten when nova-compute ends.
    Fake,
    /// Nova's `FakeRescheduleDriver`: the first start of each guest fails, and another host may try.
    FakeReschedule,
    /// Nova's `FakeBuildAbortDriver`: each start of a guest fails for good.
    FakeBuildAbort,
}

/// Which services run on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Services {
    /// nova-compute and the L2 agent.
    #[default]
    All,
    /// nova-compute, beside an L2 agent of another fleet.
    ComputeOnly,
    /// The L2 agent, beside a nova-compute that is none of ours.
    AgentOnly,
}

/// A VM on this hypervisor.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) instance: Instance,
    pub(crate) running: bool,
    /// Whether the virt driver knows it, running or not.
    pub(crate) on_driver: bool,
    /// Nova has it elsewhere, or nowhere, from now on.
    pub(crate) leaves: bool,
    pub(crate) ports: Vec<Uuid>,
    /// Whether the ports are in the VM's info cache.
    pub(crate) ports_cached: bool,
    /// Ports whose `network-vif-plugged` has come.
    pub(crate) plugged: Vec<Uuid>,
}

impl Guest {
    /// What its driver says of it.
    pub(crate) fn power_state(&self) -> u8 {
        match (self.on_driver, self.running) {
            (false, _) => power_state::NO_STATE,
            (true, true) => power_state::RUNNING,
            (true, false) => power_state::SHUTDOWN,
        }
    }

    pub(crate) fn new(instance: Instance) -> Self {
        Self {
            instance,
            running: false,
            on_driver: false,
            leaves: false,
            ports: Vec::new(),
            ports_cached: false,
            plugged: Vec::new(),
        }
    }
}

/// The mutable part of a hypervisor.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Rc<Config>,
    pub(crate) rng: Pcg64Mcg,
    pub(crate) guests: BTreeMap<Uuid, Guest>,
    /// VMs whose block devices were looked at.
    pub(crate) disks_known: BTreeSet<Uuid>,
    pub(crate) report_count: u64,
    /// What the compute node record says is in use.
    pub(crate) tracker: Tracker,
    /// When provider, inventory, aggregates and traits were last read from Placement.
    pub(crate) associations_read: Option<Time>,
    pub(crate) provider: Provider,
    /// Until when the token of each is good.
    pub(crate) sessions: Sessions<Time>,
    pub(crate) extensions_read: Option<Time>,
    /// Whether Neutron has the extension `multi-provider`.
    pub(crate) multi_provider: bool,
    /// VMs whose info caches are healed in the next turns.
    pub(crate) to_heal: VecDeque<Uuid>,
    /// What the L2 agent has to do.
    pub(crate) agent_work: AgentWork,
    /// Locks of VMs that threads hold.
    pub(crate) instance_locks: BTreeSet<(Uuid, InstanceLockName)>,
    /// VMs whose power state is being compared.
    pub(crate) power_syncs: BTreeSet<Uuid>,
    builds: FairSemaphore,
    power_sync_threads: FairSemaphore,
    resources: FairSemaphore,
    login: FairSemaphore,
    extensions: FairSemaphore,
}

impl State {
    pub(crate) fn new(config: Rc<Config>, seed: u64) -> Self {
        let builds = match config.options.max_concurrent_builds {
            0 => u64::MAX,
            some => u64::from(some),
        };
        let power_sync_threads = config.options.sync_power_state_pool_size.max(1).into();
        Self {
            config,
            rng: Pcg64Mcg::seed_from_u64(seed),
            guests: BTreeMap::new(),
            disks_known: BTreeSet::new(),
            report_count: 0,
            tracker: Tracker::default(),
            associations_read: None,
            provider: Provider::default(),
            sessions: Sessions::default(),
            extensions_read: None,
            multi_provider: false,
            to_heal: VecDeque::new(),
            agent_work: AgentWork::default(),
            instance_locks: BTreeSet::new(),
            power_syncs: BTreeSet::new(),
            builds: FairSemaphore::new(builds),
            power_sync_threads: FairSemaphore::new(power_sync_threads),
            resources: FairSemaphore::new(1),
            login: FairSemaphore::new(1),
            extensions: FairSemaphore::new(1),
        }
    }

    pub(crate) fn lock(&mut self, name: LockName) -> &mut FairSemaphore {
        match name {
            LockName::Builds => &mut self.builds,
            LockName::PowerSyncs => &mut self.power_sync_threads,
            LockName::Resources => &mut self.resources,
            LockName::Login => &mut self.login,
            LockName::Extensions => &mut self.extensions,
        }
    }

    /// A VM's record says this from now on.
    pub(crate) fn enter(&mut self, instance: Uuid, state: InstanceState) {
        if let Some(guest) = self.guests.get_mut(&instance) {
            let (vm_state, task_state) = state.states();
            guest.instance.vm_state = vm_state.unwrap_or(guest.instance.vm_state);
            guest.instance.task_state = task_state.unwrap_or(guest.instance.task_state);
        }
    }

    pub(crate) fn draw(&mut self, pick: impl Fn(&Times) -> &Delay) -> Duration {
        let config = Rc::clone(&self.config);
        pick(&config.times).sample(&mut self.rng)
    }
}
