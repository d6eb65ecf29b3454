//! `build_and_run_instance`, from the cast to ACTIVE (`nova/compute/manager.py`).

use std::cell::RefCell;
use std::rc::Rc;

use uuid::Uuid;

use crate::{
    ActionEvent, ConductorCall, Driver, Fault, Instance, InstanceState, Milestone, Notice, PlacementRequest, Response,
    executor::Host,
    failed_build,
    lock::{InstanceLockName, LockName},
    network, resources,
    state::Guest,
};

/// How a build that does not end ACTIVE ends.
pub(crate) enum Failure {
    /// `RescheduledException`: another host may try.
    Reschedule(String),
    /// `BuildAbortException`: the VM goes to ERROR.
    Abort(String),
    /// The user deleted the VM while it was built.
    Deleted,
    /// It was deleted before anything was done.
    Gone,
}

impl From<Fault> for Failure {
    /// An exception that the build does not know means "try elsewhere"; one that says the VM is being deleted ends it.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Remote(class) if class == "InstanceNotFound" || class == "UnexpectedDeletingTaskStateError" => {
                Self::Deleted
            }
            other => Self::Reschedule(other.to_string()),
        }
    }
}

/// What is to be built.
pub(crate) struct Order {
    pub(crate) instance: Instance,
    /// One for each NIC.
    pub(crate) networks: Vec<Uuid>,
    /// An anti-affinity group.
    pub(crate) group: Option<Uuid>,
    /// Whether other hosts may try when this one cannot.
    pub(crate) retry: bool,
    /// Whether its root disk has a device name already.
    pub(crate) disk_named: bool,
}

/// Handles the cast in a thread of its own, behind the semaphore of concurrent builds.
pub(crate) async fn run(host: Host, order: Order) {
    let uuid = order.instance.uuid;
    host.milestone(Milestone::BuildReceived(uuid));
    let _slot = host.acquire(LockName::Builds).await;
    let _lock = host.lock_instance(uuid, InstanceLockName::Operation).await;
    host.milestone(Milestone::BuildStarted(uuid));
    host.state().guests.insert(uuid, Guest::new(order.instance.clone()));
    // Nova starts the event best effort: a build does not fail for want of it.
    let _lost = host.conductor(ConductorCall::StartEvent(uuid, ActionEvent::Build)).await.err();
    let failed = match build(&host, &order).await {
        Ok(()) => {
            host.state().tracker.build_succeeded();
            host.milestone(Milestone::Active(uuid));
            false
        }
        Err(failure) => {
            failed_build::run(&host, &order, failure).await;
            true
        }
    };
    // A build that failed has done what it does then, and ends as others do.
    let finish = ConductorCall::FinishEvent { instance: uuid, event: ActionEvent::Build, failure: None };
    let _lost = host.conductor(finish).await.err();
    if failed {
        failed_build::forget(&host, uuid).await;
    }
}

async fn build(host: &Host, order: &Order) -> Result<(), Failure> {
    let uuid = order.instance.uuid;
    save(host, uuid, InstanceState::Building).await.map_err(early)?;
    host.placement(PlacementRequest::GetAllocations(uuid)).await?;
    resources::claim(host, uuid).await?;
    // What goes wrong from here on gives the claim up.
    if let Err(failure) = start(host, order).await {
        let _left = resources::abort_claim(host, uuid).await.err();
        return Err(failure);
    }
    save(host, uuid, InstanceState::Active).await?;
    if host.peek().config.options.track_instance_changes {
        host.notice(Notice::InstanceChanged(uuid));
    }
    Ok(())
}

/// From the claim to a guest that runs.
async fn start(host: &Host, order: &Order) -> Result<(), Failure> {
    let uuid = order.instance.uuid;
    if let Some(group) = order.group {
        check_group(host, uuid, group).await?;
    }
    host.milestone(Milestone::NetworkStarted(uuid));
    save(host, uuid, InstanceState::Networking).await?;
    let network = NetworkThread::start(host, uuid, order.networks.clone());
    if !order.disk_named {
        host.conductor(ConductorCall::SaveBlockDevice(uuid)).await?;
    }
    save(host, uuid, InstanceState::BlockDeviceMapping).await?;
    let spawned = async {
        save(host, uuid, InstanceState::Spawning).await?;
        // The driver is the first to look at the network information, and waits for it there.
        network.wait(host).await.map_err(network_failure)?;
        host.milestone(Milestone::NetworkAllocated(uuid));
        spawn(host, uuid).await
    }
    .await;
    if spawned.is_err() {
        let _failed_too = network.wait(host).await.err();
        failed_build::shut_down(host, uuid).await;
    }
    spawned
}

/// Whose record is gone, or says otherwise, before the build has begun: that is not tried elsewhere.
fn early(fault: Fault) -> Failure {
    match fault {
        Fault::Remote(class) if class == "InstanceNotFound" || class.starts_with("Unexpected") => Failure::Gone,
        other => other.into(),
    }
}

async fn save(host: &Host, uuid: Uuid, state: InstanceState) -> Result<Response, Fault> {
    host.conductor(ConductorCall::SaveInstance(uuid, state)).await
}

/// `_validate_instance_group_policy`: two of an anti-affinity group may have been scheduled here at the same time.
async fn check_group(host: &Host, uuid: Uuid, group: Uuid) -> Result<(), Failure> {
    host.conductor(ConductorCall::GetGroup(group)).await?;
    let mut here = host.conductor(ConductorCall::GetUuidsOnHost).await?.uuids();
    here.extend(host.conductor(ConductorCall::GetIncomingMigrations).await?.uuids());
    let members = host.conductor(ConductorCall::GetGroup(group)).await?.uuids();
    if members.iter().any(|member| *member != uuid && here.contains(member)) {
        return Err(Failure::Reschedule("Anti-affinity instance group policy was violated.".to_owned()));
    }
    Ok(())
}

fn network_failure(fault: Fault) -> Failure {
    match Failure::from(fault) {
        Failure::Reschedule(reason) => Failure::Reschedule(format!("Failed to allocate the network(s): {reason}")),
        other => other,
    }
}

/// The driver's part: fetch the image, plug the ports, start the guest, wait until Neutron has said that its ports are wired.
async fn spawn(host: &Host, uuid: Uuid) -> Result<(), Failure> {
    host.milestone(Milestone::SpawnStarted(uuid));
    let fetch = host.state().draw(|times| &times.image_fetch);
    host.sleep(fetch).await;
    let ports = host.peek().guests.get(&uuid).map(|guest| guest.ports.clone()).ok_or(Failure::Deleted)?;
    let driver = host.peek().config.driver;
    let plugs = driver == Driver::Plugging;
    if plugs && !ports.is_empty() {
        host.spawn(wire(host.clone(), ports));
    }
    let start = host.state().draw(|times| &times.spawn);
    host.sleep(start).await;
    match driver {
        Driver::Plugging => wait_for_ports(host, uuid).await?,
        Driver::Fake => {}
        Driver::FakeReschedule => {
            let reason = "Insufficient compute resources: FakeRescheduleDriver.";
            return Err(Failure::Reschedule(reason.to_owned()));
        }
        Driver::FakeBuildAbort => {
            return Err(Failure::Abort(format!("Build of instance {uuid} aborted: FakeBuildAbortDriver")));
        }
    }
    if let Some(guest) = host.state().guests.get_mut(&uuid) {
        guest.running = true;
        guest.on_driver = true;
    }
    host.milestone(Milestone::SpawnFinished(uuid));
    Ok(())
}

/// The taps appear on the bridge; after the time that wiring takes, the agent sees them as ready.
async fn wire(host: Host, ports: Vec<Uuid>) {
    let wiring = host.state().draw(|times| &times.wiring);
    host.sleep(wiring).await;
    host.state().agent_work.added.extend(ports);
    host.notify();
}

async fn wait_for_ports(host: &Host, uuid: Uuid) -> Result<(), Failure> {
    let (timeout, fatal) = {
        let state = host.peek();
        (state.config.options.vif_plugging_timeout, state.config.options.vif_plugging_is_fatal)
    };
    if timeout.is_zero() {
        return Ok(());
    }
    let deadline = host.now() + timeout;
    let plugged = host.watch(Some(deadline), |state| match state.guests.get(&uuid) {
        Some(guest) => guest.ports.iter().all(|port| guest.plugged.contains(port)).then_some(Ok(())),
        None => Some(Err(Failure::Deleted)),
    });
    match plugged.await {
        Some(result) => result,
        None if fatal => Err(Failure::Abort("Failed to allocate the network(s), not rescheduling.".to_owned())),
        None => Ok(()),
    }
}

/// `NetworkInfoAsyncWrapper`: ports are allocated in a thread of their own while the build goes on.
struct NetworkThread {
    result: Rc<RefCell<Option<Result<(), Fault>>>>,
}

impl NetworkThread {
    fn start(host: &Host, uuid: Uuid, networks: Vec<Uuid>) -> Self {
        let result = Rc::new(RefCell::new(networks.is_empty().then_some(Ok(()))));
        if !networks.is_empty() {
            let (thread_host, slot) = (host.clone(), Rc::clone(&result));
            host.spawn(async move {
                let outcome = network::allocate(&thread_host, uuid, &networks).await;
                *slot.borrow_mut() = Some(outcome);
                thread_host.notify();
            });
        }
        Self { result }
    }

    async fn wait(&self, host: &Host) -> Result<(), Fault> {
        host.watch(None, |_| self.result.borrow().clone()).await.expect("a watch without deadline ends with a value")
    }
}
