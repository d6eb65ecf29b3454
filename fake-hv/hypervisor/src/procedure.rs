//! What a nova-compute does on RPCs other than building and terminating: the steps come from the release's data, what they
//! mean for this hypervisor is said here.

use std::{pin::Pin, rc::Rc, time::Duration};

use uuid::Uuid;

use crate::{
    ActionEvent, ConductorCall, Fault, Instance, InstanceState, Milestone, Notice, Request, Response, Session,
    executor::Host,
    lock::InstanceLockName,
    network::{self, Refresh},
    power_state, resources,
    state::Guest,
};

/// What a nova-compute does on one RPC, as far as its order is concerned. Messages are the driver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procedure {
    /// Method of the RPC.
    pub method: &'static str,
    /// One after another.
    pub steps: Vec<Step>,
}

/// One step, with its number in the release's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// By which the driver finds its message.
    pub number: usize,
    /// What is done.
    pub kind: StepKind,
}

/// What is done in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// A call to the conductor, or to another compute service, that waits for its answer.
    Call {
        /// Object and method, or the method alone.
        name: &'static str,
        /// `None`: for `rpc_response_timeout`.
        timeout: Option<Duration>,
        /// What it says of the VM.
        saves: Saved,
        /// Class of an exception that is an answer like another.
        accepts: Option<&'static str>,
    },
    /// An HTTP request.
    Http(HttpService, &'static str),
    /// A message that nobody answers.
    Cast,
    /// The answer to the RPC itself.
    Answer,
    /// The VM's network information is read from Neutron and saved.
    NetworkInfo {
        /// Without asking for the networks.
        networks_known: bool,
    },
    /// Placement and the compute node record are told what is used.
    Resources {
        /// Everything was counted anew.
        audit: bool,
    },
    /// Neutron is asked for its extensions, if it was not for a while.
    Extensions,
    /// The steps for each port of the VM.
    EachPort(Vec<Step>),
}

/// What a save says of the VM, as far as a hypervisor is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Saved {
    /// Whether it runs from now on.
    pub running: Option<bool>,
    /// Its `vm_state` from now on.
    pub vm_state: Option<&'static str>,
    /// Its `task_state` from now on, or none.
    pub task_state: Option<Option<&'static str>>,
    /// It has no host any more.
    pub leaves: bool,
}

/// A service that is asked over HTTP in a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpService {
    /// Placement.
    Placement,
    /// Neutron.
    Neutron,
    /// Glance, with the token of the user who asked.
    Glance,
}

/// Names one RPC that is being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u32);

/// An RPC to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The driver's name for it.
    pub id: OperationId,
    /// What is done.
    pub procedure: Rc<Procedure>,
    /// The VM that it is about, with the resources that it will use; `None`: it is about the host.
    pub instance: Option<Instance>,
    /// Ports of the VM.
    pub ports: Vec<Uuid>,
}

/// A message of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepMessage {
    /// The RPC that is being carried out.
    pub operation: OperationId,
    /// Number of the step in the release's data.
    pub step: usize,
    /// In a loop over the ports: this one.
    pub port: Option<Uuid>,
    /// Whom it goes to; `None`: it is an RPC.
    pub service: Option<HttpService>,
    /// As reports have it.
    pub name: &'static str,
}

/// Methods by which a VM, or a claim for it, comes to this host.
const COMES: [&str; 5] =
    ["prep_resize", "finish_resize", "unshelve_instance", "pre_live_migration", "post_live_migration_at_destination"];
/// Methods after which it is not here any more.
const GOES: [&str; 4] = ["confirm_resize", "revert_resize", "shelve_offload_instance", "live_migration"];

/// Methods after which the driver has the VM here, in the state that it came in, which they do not save.
const LANDS: [&str; 2] = ["finish_resize", "post_live_migration_at_destination"];

/// Carries an RPC out.
pub(crate) async fn run(host: Host, operation: Operation) {
    let vm = operation.instance.as_ref().map(|instance| instance.uuid);
    let _lock = match &operation.instance {
        Some(instance) => {
            let lock = host.lock_instance(instance.uuid, InstanceLockName::Operation).await;
            arrive(&host, &operation, instance);
            Some(lock)
        }
        None => None,
    };
    let done = steps(&host, &operation, &operation.procedure.steps, None).await;
    match (&done, &operation.instance) {
        (Err(fault), Some(instance)) => fail(&host, &operation, instance.uuid, fault).await,
        (Ok(()), Some(instance)) => land(&host, &operation, instance),
        (_, None) => {}
    }
    host.milestone(match done {
        Ok(()) => Milestone::OperationEnded(operation.id),
        Err(_) => Milestone::OperationFailed(operation.id),
    });
    if let Some(vm) = vm {
        leave(&host, &operation, vm);
    }
}

/// A VM that has moved here is on the driver, and runs if it did before.
fn land(host: &Host, operation: &Operation, instance: &Instance) {
    let mut state = host.state();
    let landed = state.guests.get_mut(&instance.uuid).filter(|_| LANDS.contains(&operation.procedure.method));
    if let Some(guest) = landed.filter(|guest| !guest.on_driver) {
        guest.on_driver = true;
        guest.running = instance.power_state == power_state::RUNNING;
    }
}

/// Forgets a VM that is not here any more.
fn leave(host: &Host, operation: &Operation, vm: Uuid) {
    let mut state = host.state();
    let goes = GOES.contains(&operation.procedure.method) || state.guests.get(&vm).is_some_and(|guest| guest.leaves);
    if goes {
        state.guests.remove(&vm);
    }
    let gone = !state.guests.contains_key(&vm);
    drop(state);
    if gone {
        host.milestone(Milestone::Gone(vm));
    }
}

fn arrive(host: &Host, operation: &Operation, instance: &Instance) {
    let mut state = host.state();
    let comes = COMES.contains(&operation.procedure.method);
    let known = state.guests.entry(instance.uuid).or_insert_with(|| Guest::new(instance.clone()));
    if !operation.ports.is_empty() {
        known.ports.clone_from(&operation.ports);
        known.ports_cached = true;
    }
    if comes {
        known.instance = instance.clone();
    }
    known.instance.vm_state = instance.vm_state;
    known.instance.task_state = instance.task_state;
}

type Steps<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 'a>>;

fn steps<'a>(host: &'a Host, operation: &'a Operation, steps: &'a [Step], port: Option<Uuid>) -> Steps<'a> {
    Box::pin(async move {
        for step in steps {
            perform(host, operation, step, port).await?;
        }
        Ok(())
    })
}

async fn perform(host: &Host, operation: &Operation, step: &Step, port: Option<Uuid>) -> Result<(), Fault> {
    let message = |service, name| StepMessage { operation: operation.id, step: step.number, port, service, name };
    match &step.kind {
        StepKind::Call { name, timeout, saves, accepts } => {
            let timeout = timeout.unwrap_or(host.peek().config.options.rpc_response_timeout);
            let answer = match host.request(Request::Step(message(None, name)), Some(timeout)).await {
                Err(Fault::Remote(class)) if *accepts == Some(&*class) => Response::Done,
                answer => answer?,
            };
            if let Response::Ports(ports) = answer {
                take_ports(host, operation, ports);
            }
            note(host, operation, *saves);
            Ok(())
        }
        StepKind::Http(service, name) => {
            if let Response::Port(port) = ask(host, message(Some(*service), name)).await? {
                add_port(host, operation, port);
            }
            Ok(())
        }
        StepKind::Cast | StepKind::Answer => {
            host.notice(Notice::Step(message(None, operation.procedure.method)));
            Ok(())
        }
        StepKind::NetworkInfo { networks_known } => match &operation.instance {
            Some(instance) => {
                let refresh = if *networks_known { Refresh::Allocated } else { Refresh::All };
                network::refresh_info_cache(host, instance.uuid, refresh).await
            }
            None => Ok(()),
        },
        StepKind::Extensions => network::read_extensions(host).await,
        StepKind::Resources { audit: true } => {
            let moved = operation.instance.as_ref().map(|instance| instance.uuid);
            resources::tell_of_audit(host, moved).await
        }
        StepKind::Resources { audit: false } => book(host, operation).await,
        StepKind::EachPort(inner) => {
            let vm = operation.instance.as_ref().map(|instance| instance.uuid);
            let ports = vm.and_then(|vm| host.peek().guests.get(&vm).map(|guest| guest.ports.clone()));
            for port in ports.unwrap_or_default() {
                steps(host, operation, inner, Some(port)).await?;
            }
            Ok(())
        }
    }
}

fn take_ports(host: &Host, operation: &Operation, ports: Vec<Uuid>) {
    let Some(instance) = &operation.instance else { return };
    if let Some(guest) = host.state().guests.get_mut(&instance.uuid) {
        guest.ports_cached = !ports.is_empty();
        guest.ports = ports;
    }
}

fn add_port(host: &Host, operation: &Operation, port: Uuid) {
    let Some(instance) = &operation.instance else { return };
    if let Some(guest) = host.state().guests.get_mut(&instance.uuid) {
        guest.ports.push(port);
    }
}

/// An HTTP request with the session that it needs.
async fn ask(host: &Host, message: StepMessage) -> Result<Response, Fault> {
    let request = Request::Step(message);
    match message.service {
        Some(HttpService::Placement) => host.in_session(Session::Placement, request).await,
        Some(HttpService::Neutron) => host.in_session(Session::Network, request).await,
        _ => host.request(request, None).await,
    }
}

/// What the method does to the books of the resource tracker, and what it tells of them.
async fn book(host: &Host, operation: &Operation) -> Result<(), Fault> {
    let Some(instance) = &operation.instance else { return Ok(()) };
    match operation.procedure.method {
        // The driver gives the VM the size that the move is about.
        "prep_resize" | "rebuild_instance" | "check_can_live_migrate_destination" => {
            resources::tell_of_move(host, instance, true).await
        }
        "confirm_resize" | "revert_resize" | "drop_move_claim_at_destination" => {
            resources::tell_of_move(host, instance, false).await
        }
        "unshelve_instance" => resources::claim_again(host, instance.uuid).await,
        _ => resources::tell_of_change(host, instance.uuid).await,
    }
}

fn note(host: &Host, operation: &Operation, saved: Saved) {
    let Some(instance) = &operation.instance else { return };
    let mut state = host.state();
    let Some(guest) = state.guests.get_mut(&instance.uuid) else { return };
    if let Some(running) = saved.running {
        guest.running = running;
        guest.on_driver |= running;
    }
    if let Some(vm_state) = saved.vm_state {
        guest.instance.vm_state = vm_state;
    }
    if let Some(task_state) = saved.task_state {
        guest.instance.task_state = task_state;
    }
    guest.leaves |= saved.leaves;
}

/// What the decorators of a method do when it raises: the task is taken back, the fault noted, the event ended.
async fn fail(host: &Host, operation: &Operation, instance: Uuid, fault: &Fault) {
    let reason = fault.to_string();
    // Each is best effort: the conductor may be what failed.
    let revert = ConductorCall::SaveInstance(instance, InstanceState::Reverted);
    let _lost = host.conductor(revert).await.err();
    let noted = ConductorCall::CreateFault { instance, message: reason.clone() };
    let _lost = host.conductor(noted).await.err();
    let event = ActionEvent::Other(operation.procedure.method);
    let _lost = host.conductor(ConductorCall::FinishEvent { instance, event, failure: Some(reason) }).await.err();
}
