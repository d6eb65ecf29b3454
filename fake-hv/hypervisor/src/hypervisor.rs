//! The state machine that drivers hold.

use std::rc::Rc;

use crate::{
    Config, Input, Origin, Output, RequestId, Rpc, Services, Sessions, Time, agent, build,
    executor::{Executor, Host},
    heartbeat, network, periodic, procedure, startup,
    state::State,
    terminate,
};

/// One simulated nova-compute with its Neutron L2 agent.
///
/// It does no I/O, has no clock and no ambient randomness. A driver
///
/// 1. hands it what happened with [`Hypervisor::handle_input`],
/// 2. then takes everything out of [`Hypervisor::poll_output`] and does it,
/// 3. and comes back with [`Input::Tick`] at [`Hypervisor::poll_timeout`], if nothing happens before.
///
/// Times must not go backwards. The same configuration, seed and inputs give the same outputs. Which requests the driver
/// answers, late or never, is its own business: a timed-out request is given up, and its late answer dropped.
///
/// ```
/// use hypervisor::{Config, ComputeOptions, Hypervisor, Input, Output, Request, ConductorCall, Time};
/// # use hypervisor::{Resources, Times};
/// # let resources = Resources { vcpus: 8, memory_mb: 8192, local_gb: 100, cpu_allocation_ratio: 4.0,
/// #     ram_allocation_ratio: 1.0, disk_allocation_ratio: 1.0 };
/// let (options, times) = (ComputeOptions::default(), Times::ZERO);
/// let config = Config { options, resources, times, driver: Default::default(), services: Default::default(), habits: Default::default() };
/// let mut hypervisor = Hypervisor::new(config.into(), 1);
/// hypervisor.handle_input(Time::ZERO, Input::Tick);
/// let first = hypervisor.poll_output();
/// assert!(matches!(first, Some(Output::Request { request: Request::Conductor(ConductorCall::Ping), .. })));
/// ```
pub struct Hypervisor {
    executor: Executor,
}

impl Hypervisor {
    /// A hypervisor that begins its start-up at its first input.
    pub fn new(config: Rc<Config>, seed: u64) -> Self {
        let host = Host::new(State::new(config, seed));
        host.spawn(boot(host.clone()));
        Self::with(Executor::new(host))
    }

    pub(crate) fn with(executor: Executor) -> Self {
        Self { executor }
    }

    /// Tells what happened.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        self.executor.advance(now);
        match input {
            Input::Reply { id, result } => self.executor.answer(id, result),
            Input::Rpc { ticket, rpc } => self.dispatch(Origin::Rpc(ticket), rpc),
            Input::Push(push) => agent::pushed(self.executor.host(), push),
            Input::Bridge { added, removed } => agent::bridge_changed(self.executor.host(), added, removed),
            Input::Tick => {}
        }
        self.executor.run();
    }

    /// The next thing to do; `None`: nothing until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.executor.next_output()
    }

    /// When to come back although nothing happened.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.executor.next_due()
    }

    /// Whether the answer to this request would still be of use.
    pub fn awaits(&self, request: RequestId) -> bool {
        self.executor.awaits(request)
    }

    /// Until when the tokens are used that it has.
    pub fn sessions(&self) -> Sessions<Time> {
        self.executor.host().peek().sessions
    }

    /// Number of VMs that run here.
    pub fn running_guests(&self) -> usize {
        self.executor.host().peek().guests.values().filter(|guest| guest.running).count()
    }

    /// Number of VMs that it knows of, running or not.
    pub fn guests(&self) -> usize {
        self.executor.host().peek().guests.len()
    }

    fn dispatch(&mut self, origin: Origin, rpc: Rpc) {
        let host = self.executor.host().clone();
        match rpc {
            Rpc::Build { instance, networks, group, retry, disk_named } => {
                let order = build::Order { instance, networks, group, retry, disk_named };
                host.spawn_for(origin, build::run(host.clone(), order));
            }
            Rpc::Terminate { instance } => host.spawn_for(origin, terminate::run(host.clone(), instance)),
            Rpc::Operation(operation) => host.spawn_for(origin, procedure::run(host.clone(), operation)),
            Rpc::Events(events) => host.spawn_for(origin, handle_events(host.clone(), events)),
            event @ (Rpc::VifPlugged { .. } | Rpc::VifDeleted { .. } | Rpc::NetworkChanged { .. }) => {
                host.spawn_for(origin, handle_events(host.clone(), vec![event]));
            }
        }
    }
}

/// `external_instance_event`: one event after another.
async fn handle_events(host: Host, events: Vec<Rpc>) {
    for event in events {
        match event {
            Rpc::VifPlugged { instance, port } => network::vif_plugged(&host, instance, port),
            Rpc::VifDeleted { instance, port } => network::vif_deleted(&host, instance, port).await,
            Rpc::NetworkChanged { instance, port } => network::refresh_after_event(&host, instance, port).await,
            _ => {}
        }
    }
}

/// Start-up in nova-compute's main thread; the others begin when it is through.
async fn boot(host: Host) {
    let services = host.peek().config.services;
    if services != Services::ComputeOnly {
        host.spawn(agent::run(host.clone()));
    }
    if services == Services::AgentOnly {
        return;
    }
    if !startup::run(&host).await {
        return;
    }
    host.set_origin(Origin::StartUp);
    host.spawn(heartbeat::run(host.clone()));
    host.spawn(periodic::run(host.clone()));
}
