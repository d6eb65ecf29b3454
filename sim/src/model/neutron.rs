//! Neutron: its API, and the RPC workers that agents call.
//!
//! Agents report their state to `rpc_state_report_workers`, and ask for and report ports to `rpc_workers`. A change of a port that
//! Nova wants to know of waits for up to `send_events_interval` and goes to Nova's API with those that came meanwhile, from
//! each process by itself.
//!
//! A port binds on a host whose agent was seen within `agent_down_time`; elsewhere the build fails there and is tried on another
//! host.
//!
//! An L2 agent is told that its port is up, and nothing else of what Neutron tells all agents: it knows what it needs.
//!
//! Left out: DHCP and L3 agents, what a message to all agents costs, IP addresses running out, quotas, the resource cache of
//! ML2.

use std::collections::{BTreeMap, BTreeSet};

use hypervisor::{AgentCall, AgentPort, Fault, Input, Lookup, NetworkRequest, Push, Request, Response, Rpc};
use uuid::Uuid;

use super::{
    Event, ServiceId, World,
    broker::Topic,
    facts,
    ops::Ops,
    recipes::{plain, request},
    task::{Asker, Flow, Hook, NONE, OpId, ProcessId, Recipe, Subject, TaskId},
};
use crate::calibration::Calibration;

pub(crate) const SERVICE: &str = "neutron";
const RPC_SERVICE: &str = "neutron-rpc";

/// The operations of Neutron.
#[derive(Debug)]
pub(crate) struct NeutronOps {
    pub(crate) networks: OpId,
    network: OpId,
    extensions: OpId,
    create_port: OpId,
    bind_port: OpId,
    pub(crate) ports: OpId,
    floating_ips: OpId,
    subnets: OpId,
    delete_port: OpId,
    pub(crate) quota: OpId,
    pub(crate) security_groups: OpId,
    report: OpId,
    update: OpId,
}

impl NeutronOps {
    pub(crate) fn new(ops: &mut Ops, calibration: &Calibration) -> Self {
        let mut api = |name: &str, effect: Option<Hook>| {
            let steps = request(calibration.work(SERVICE, name), effect, None);
            ops.add(Recipe { name: format!("neutron {name}"), steps })
        };
        let networks = api("GET /v2.0/networks", None);
        let network = api("GET /v2.0/networks/{id}", Some(physical));
        let extensions = api("GET /v2.0/extensions", None);
        let create_port = api("POST /v2.0/ports", Some(create_port));
        let bind_port = api("PUT /v2.0/ports/{id}", Some(bind_port));
        let ports = api("GET /v2.0/ports", None);
        let floating_ips = api("GET /v2.0/floatingips", None);
        let subnets = api("GET /v2.0/subnets", None);
        let delete_port = api("DELETE /v2.0/ports/{id}", Some(port_deleted));
        let quota = api("GET /v2.0/quotas/{project}", None);
        let security_groups = api("GET /v2.0/security-groups", None);
        let mut rpc = |name: &str, effect: Option<Hook>| {
            let steps = plain(calibration.work(RPC_SERVICE, name), effect, None);
            ops.add(Recipe { name: name.to_owned(), steps })
        };
        let report = rpc("report_state", Some(agent_seen));
        let update = rpc("update_device_list", Some(devices_up));
        Self {
            networks,
            network,
            extensions,
            create_port,
            bind_port,
            ports,
            floating_ips,
            subnets,
            delete_port,
            quota,
            security_groups,
            report,
            update,
        }
    }
}

/// What Nova is told of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortEvent {
    Plugged,
    Changed,
    Deleted,
}

/// What waits to be told to Nova.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// By the process that found out.
    pending: BTreeMap<ProcessId, Vec<(PortEvent, u32)>>,
    /// On their way: taken out by the request that carries them.
    batches: BTreeMap<u32, Vec<(PortEvent, u32)>>,
    next_batch: u32,
    /// Ports that an agent's call is about.
    lists: BTreeMap<u32, Vec<u32>>,
    /// Ports that are up.
    active: BTreeSet<u32>,
    next_list: u32,
}

/// What an agent need not ask for: Neutron told it before. That a server is there it takes for granted.
pub(crate) fn known_to_agent(request: &Request) -> Option<Response> {
    match request {
        Request::Agent(AgentCall::FindServer) => Some(Response::Found(true)),
        Request::Agent(AgentCall::LookUp(Lookup::Port(_))) => {
            let network = Uuid::nil();
            let port = AgentPort { network, groups: Vec::new(), admin_up: true, bound: true, asked: false };
            Some(Response::AgentPort(Some(port)))
        }
        Request::Agent(AgentCall::LookUp(_)) => Some(Response::Done),
        _ => None,
    }
}

impl World {
    /// A hypervisor asks Neutron's API.
    pub(crate) fn ask_neutron(&mut self, host: u32, asker: Asker, request: &NetworkRequest) -> TaskId {
        let ops = &self.ops.neutron;
        let (op, instance, port) = match request {
            NetworkRequest::GetRequestedNetworks(_)
            | NetworkRequest::GetNetworks { .. }
            | NetworkRequest::GetProjectNetworks(_)
            | NetworkRequest::GetSharedNetworks => (ops.networks, NONE, NONE),
            NetworkRequest::GetExtensions => (ops.extensions, NONE, NONE),
            NetworkRequest::CreatePort { instance, .. } => (ops.create_port, facts::number_of(*instance), NONE),
            NetworkRequest::BindPort { port, .. } => (ops.bind_port, NONE, facts::number_of(*port)),
            NetworkRequest::DeletePort { port, .. } => (ops.delete_port, NONE, facts::number_of(*port)),
            NetworkRequest::GetPorts { .. }
            | NetworkRequest::GetPortBindings(_)
            | NetworkRequest::GetAllPorts(_)
            | NetworkRequest::GetDhcpPorts { .. } => (ops.ports, NONE, NONE),
            NetworkRequest::GetFloatingIps { .. } => (ops.floating_ips, NONE, NONE),
            NetworkRequest::GetSubnets { .. } => (ops.subnets, NONE, NONE),
            NetworkRequest::GetSegments { .. } | NetworkRequest::GetPhysicalNetwork { .. } => (ops.network, NONE, NONE),
        };
        let token = match request.passes_token_on() {
            true => self.tokens.service_of(host),
            false => self.tokens.network_of(host),
        };
        let task = self.tasks.add(op, asker, Subject { host, instance, port, token });
        self.send_http(ServiceId::Neutron, task);
        task
    }

    /// An agent calls.
    pub(crate) fn call_neutron(&mut self, host: u32, asker: Asker, call: &AgentCall) -> TaskId {
        let ops = &self.ops.neutron;
        let (op, topic, ports) = match call {
            AgentCall::ReportState { .. } => (ops.report, Topic::NeutronReports, None),
            AgentCall::DevicesUp { ports, .. } => (ops.update, Topic::NeutronPlugin, Some(ports)),
            // No network changes in here, and nobody wants a port down.
            AgentCall::DevicesDown(_) | AgentCall::DeviceDown(_) | AgentCall::GetNetwork(_) => {
                (ops.update, Topic::NeutronPlugin, None)
            }
            AgentCall::FindServer | AgentCall::LookUp(_) => unreachable!("the agent knows: `known_to_agent`"),
        };
        let task = self.tasks.add(op, asker, Subject::host(host));
        if let Some(ports) = ports {
            let list = self.notices.next_list;
            self.notices.next_list = list.wrapping_add(1);
            self.notices.lists.insert(list, ports.iter().map(|port| facts::number_of(*port)).collect());
            self.tasks[task].note = list;
        }
        self.send_request(topic, task);
        task
    }

    fn tell_nova(&mut self, process: ProcessId, event: PortEvent, port: u32) {
        let told = match event {
            PortEvent::Plugged => self.settings.tells_status,
            PortEvent::Changed | PortEvent::Deleted => self.settings.tells_data,
        };
        if !told {
            return;
        }
        let pending = self.notices.pending.entry(process).or_default();
        pending.push((event, port));
        if pending.len() == 1 {
            self.calendar.enter(self.now + self.settings.send_events_interval, Event::TellNova(process));
        }
    }

    /// The interval is over: everything that waits goes out.
    pub(crate) fn send_notices(&mut self, process: ProcessId) {
        let Some(events) = self.notices.pending.remove(&process) else { return };
        let batch = self.notices.next_batch;
        self.notices.next_batch = batch.wrapping_add(1);
        self.notices.batches.insert(batch, events);
        let task = self.tasks.add(self.ops.nova_api.events, Asker::Nobody, Subject::NOTHING);
        self.tasks[task].note = batch;
        self.send_http(ServiceId::NovaApi, task);
    }
}

/// `os-server-external-events`, in nova-api: each event is cast to the host of its server.
pub(crate) fn pass_events_on(world: &mut World, task: TaskId) -> Flow {
    let batch = world.tasks[task].note;
    for (event, port) in world.notices.batches.remove(&batch).unwrap_or_default() {
        let server = world.facts.ports[port as usize];
        let host = world.facts.server(server).host;
        if host == NONE {
            continue;
        }
        let (instance, port) = (facts::server_uuid(server), facts::port_uuid(port));
        match event {
            PortEvent::Plugged => world.send_to_host(host, Rpc::VifPlugged { instance, port }),
            PortEvent::Changed => world.send_to_host(host, Rpc::NetworkChanged { instance, port }),
            // The host detaches an interface that its server does not have any more: nothing.
            PortEvent::Deleted => {}
        }
    }
    Flow::Next
}

fn create_port(world: &mut World, task: TaskId) -> Flow {
    let server = world.tasks[task].subject.instance;
    let port = world.facts.add_port(server);
    world.tasks[task].result = Ok(Response::Port(facts::port_uuid(port)));
    Flow::Next
}

fn physical(world: &mut World, task: TaskId) -> Flow {
    world.tasks[task].result = Ok(Response::Found(true));
    Flow::Next
}

/// A port binds where an agent is alive, by the clock of this controller.
fn bind_port(world: &mut World, task: TaskId) -> Flow {
    let clock_ns = world.clock_of(world.tasks[task].process);
    let host = world.tasks[task].subject.host;
    let seen_ns = world.facts.host(host).agent_seen_ns;
    let alive = seen_ns.is_some_and(|seen_ns| clock_ns.abs_diff(seen_ns) <= world.settings.agent_down_ns);
    if !alive {
        return Flow::Fail(Fault::Remote("PortBindingFailed".to_owned()));
    }
    port_changed(world, task)
}

fn port_changed(world: &mut World, task: TaskId) -> Flow {
    let (process, port) = (world.tasks[task].process, world.tasks[task].subject.port);
    world.tell_nova(process, PortEvent::Changed, port);
    Flow::Next
}

fn port_deleted(world: &mut World, task: TaskId) -> Flow {
    let (process, port) = (world.tasks[task].process, world.tasks[task].subject.port);
    world.notices.active.remove(&port);
    world.tell_nova(process, PortEvent::Deleted, port);
    Flow::Next
}

fn agent_seen(world: &mut World, task: TaskId) -> Flow {
    let clock_ns = world.clock_of(world.tasks[task].process);
    let host = world.tasks[task].subject.host;
    world.facts.host(host).agent_seen_ns = Some(clock_ns);
    Flow::Next
}

fn devices_up(world: &mut World, task: TaskId) -> Flow {
    let (process, list) = (world.tasks[task].process, world.tasks[task].note);
    let host = world.tasks[task].subject.host;
    for port in world.notices.lists.remove(&list).unwrap_or_default() {
        // That the port is ACTIVE now is news to its agent, too, which looks at it once more.
        if world.notices.active.insert(port) {
            world.tell_nova(process, PortEvent::Plugged, port);
            world.tell_host(host, Input::Push(Push::Port(facts::port_uuid(port))));
        }
    }
    Flow::Next
}
