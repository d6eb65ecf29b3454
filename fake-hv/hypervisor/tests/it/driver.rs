//! A driver that answers at once, or not at all, and writes down what it was asked.

use std::{rc::Rc, time::Duration};

use hypervisor::{
    AgentCall, AgentPort, ComputeOptions, ConductorCall, Config, Delay, Fault, Habits, Hypervisor, Input, Instance,
    Lookup, Milestone, NetworkRequest, Notice, Origin, Output, Request, RequestId, Resources, Response, Rpc, Servers,
    Services, Ticket, Time, Times,
};
use uuid::Uuid;

pub(crate) const VM: Uuid = Uuid::from_u128(1);
/// An RPC; which one it was is nobody's business here.
pub(crate) fn rpc(rpc: Rpc) -> Input {
    Input::Rpc { ticket: Ticket(0), rpc }
}

/// The build of a VM, which may go to another host, with these NICs.
pub(crate) fn build(vm: Uuid, networks: Vec<Uuid>) -> Input {
    rpc(Rpc::Build { instance: instance(vm), networks, group: None, retry: true, disk_named: false })
}

pub(crate) const NETWORK: Uuid = Uuid::from_u128(2);
pub(crate) const PORT: Uuid = Uuid::from_u128(3);

pub(crate) struct Driver {
    pub(crate) hypervisor: Hypervisor,
    pub(crate) now: Time,
    /// Time and name of everything sent; notices by their debug form.
    pub(crate) sent: Vec<(Duration, String)>,
    /// What was asked for in all this.
    pub(crate) asked: Vec<Request>,
    pub(crate) milestones: Vec<Milestone>,
    pub(crate) serving: bool,
    /// Requests with this name are never answered.
    pub(crate) mute: Option<&'static str>,
    /// Requests with this name fail so.
    pub(crate) failing: Option<(&'static str, Fault)>,
    pub(crate) unanswered: Vec<RequestId>,
    /// What the next requests of these names are answered with, in this order.
    pub(crate) told: Vec<(&'static str, Response)>,
    /// Whether the L2 agent's report makes Neutron tell Nova.
    pub(crate) plug: bool,
    /// Why something was asked for, but for the start-up, until it is said to be over.
    pub(crate) going_on: Vec<Origin>,
}

pub(crate) fn config(options: ComputeOptions) -> Rc<Config> {
    let resources = Resources {
        vcpus: 8,
        memory_mb: 16_384,
        local_gb: 200,
        cpu_allocation_ratio: 4.0,
        ram_allocation_ratio: 1.0,
        disk_allocation_ratio: 1.0,
    };
    let second = Delay::Constant { value: Duration::from_secs(1) };
    let times = Times {
        image_fetch: second.clone(),
        spawn: second.clone(),
        wiring: second.clone(),
        destroy: second,
        think: Delay::ZERO,
    };
    Rc::new(Config {
        options,
        resources,
        times,
        driver: hypervisor::Driver::default(),
        services: Services::default(),
        habits: Habits::default(),
    })
}

pub(crate) fn instance(uuid: Uuid) -> Instance {
    Instance {
        uuid,
        vcpus: 1,
        memory_mb: 512,
        disk_gb: 1,
        vm_state: "building",
        task_state: None,
        project: "project".into(),
        power_state: 1,
        os_type: None,
    }
}

impl Driver {
    pub(crate) fn new(options: ComputeOptions) -> Self {
        Self::with(Hypervisor::new(config(options), 7))
    }

    pub(crate) fn with(hypervisor: Hypervisor) -> Self {
        Self {
            hypervisor,
            now: Time::ZERO,
            sent: Vec::new(),
            asked: Vec::new(),
            milestones: Vec::new(),
            serving: false,
            mute: None,
            failing: None,
            unanswered: Vec::new(),
            told: Vec::new(),
            plug: true,
            going_on: Vec::new(),
        }
    }

    /// A driver whose hypervisor has started.
    pub(crate) fn started(options: ComputeOptions) -> Self {
        let mut driver = Self::new(options);
        driver.input(Input::Tick);
        assert!(driver.serving, "start-up goes through when everything is answered");
        driver.sent.clear();
        driver
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.hypervisor.handle_input(self.now, input);
        while let Some(output) = self.hypervisor.poll_output() {
            self.perform(output);
        }
    }

    /// Lets time pass, waking the hypervisor when it wants to be.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.hypervisor.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.input(Input::Tick);
        }
        self.now = end;
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.sent.iter().map(|(_, name)| name.as_str()).collect()
    }

    /// Names of calls to the conductor and of notices, without heartbeats and without HTTP.
    pub(crate) fn rpc_names(&self) -> Vec<&str> {
        self.names().into_iter().filter(|name| !name.contains(" /") && *name != "Service.save").collect()
    }

    pub(crate) fn times_of(&self, wanted: &str) -> Vec<f64> {
        self.sent.iter().filter(|(_, name)| name == wanted).map(|(time, _)| time.as_secs_f64()).collect()
    }

    fn note(&mut self, name: &str) {
        self.sent.push((self.now.since_origin(), name.to_owned()));
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Over(origin) => self.going_on.retain(|other| *other != origin),
            Output::Request { id, request, origin, .. } => {
                if origin != Origin::StartUp && !self.going_on.contains(&origin) {
                    self.going_on.push(origin);
                }
                self.note(request.name());
                self.asked.push(request.clone());
                if self.mute == Some(request.name()) {
                    self.unanswered.push(id);
                    return;
                }
                let told = self.told.iter().position(|(name, _)| *name == request.name());
                let result = match (&self.failing, told) {
                    (Some((name, fault)), _) if *name == request.name() => Err(fault.clone()),
                    (_, Some(at)) => Ok(self.told.remove(at).1),
                    _ => Ok(answer(&request)),
                };
                self.hypervisor.handle_input(self.now, Input::Reply { id, result });
                if let (true, Request::Agent(AgentCall::DevicesUp { ports, .. })) = (self.plug, request) {
                    for port in ports {
                        self.hypervisor.handle_input(self.now, rpc(Rpc::VifPlugged { instance: VM, port }));
                    }
                }
            }
            Output::Notice { notice, .. } => self.note(notice_name(&notice)),
            Output::Serve(servers) => self.serving |= servers == Servers::Compute,
            Output::Milestone(milestone) => self.milestones.push(milestone),
        }
    }
}

fn notice_name(notice: &Notice) -> &'static str {
    match notice {
        Notice::InstanceChanged(_) => "update_instance_info",
        Notice::InstanceDeleted(_) => "delete_instance_info",
        Notice::InstanceSync(_) => "sync_instance_info",
        Notice::Reschedule { .. } => "build_instances",
        Notice::Step(step) => step.name,
        Notice::InstancesAtStart => "update_instance_info",
        Notice::Stop(_) => "stop_instance",
    }
}

fn answer(request: &Request) -> Response {
    match request {
        Request::Conductor(ConductorCall::GetService | ConductorCall::GetNodesByHost | ConductorCall::GetNode) => {
            Response::Found(false)
        }
        Request::Network(NetworkRequest::CreatePort { .. }) => Response::Port(PORT),
        Request::Agent(AgentCall::LookUp(Lookup::Port(_))) => {
            let port = AgentPort { network: NETWORK, groups: Vec::new(), admin_up: true, bound: true, asked: false };
            Response::AgentPort(Some(port))
        }
        _ => Response::Done,
    }
}
