//! The Neutron L2 agent beside nova-compute (`neutron/plugins/ml2/drivers/openvswitch/agent/ovs_neutron_agent.py`), with the
//! openvswitch firewall driver and without tunnels.

use std::{collections::BTreeSet, time::Duration};

use rand::Rng;
use uuid::Uuid;

use crate::{AgentCall, Fault, Lookup, Origin, Output, Push, Request, Response, Servers, executor::Host, wiring};

/// `[AGENT] polling_interval` of the Open vSwitch agent: how often it looks at its bridge.
pub(crate) const POLLING_INTERVAL: Duration = Duration::from_secs(2);
/// Neutron's `rpc_response_max_timeout`, as a multiple of `rpc_response_timeout`.
const MAX_TIMEOUT_FACTOR: u32 = 10;

/// The agent from its start on.
pub(crate) async fn run(host: Host) {
    host.emit(Output::Serve(Servers::Resources));
    while !is_server_alive(&host).await {}
    host.state().agent_work.begun = Some(host.now());
    host.spawn(report_states(host.clone()));
    host.spawn(wiring::run(host.clone()));
    host.emit(Output::Serve(Servers::Notifications));
}

/// Asks whether a neutron-server is there that can reach its database; waits before it says no.
async fn is_server_alive(host: &Host) -> bool {
    match host.agent(AgentCall::FindServer).await {
        Ok(Response::Found(false)) => {
            let pause = host.peek().config.options.agent_report_interval;
            host.sleep(pause).await;
            false
        }
        Ok(_) => true,
        // What was lost was waited for already; anything else the server raises is no answer either.
        Err(Fault::TimedOut) => false,
        Err(_) => {
            host.sleep(POLLING_INTERVAL).await;
            false
        }
    }
}

/// Reports the agent's state every `[AGENT] report_interval`, each time with a call that waits for as long.
async fn report_states(host: Host) {
    let interval = host.peek().config.options.agent_report_interval;
    let (mut versions, mut start) = (true, true);
    loop {
        let started = host.now();
        let devices = host.peek().agent_work.devices;
        let report = AgentCall::ReportState { versions, start, devices };
        if let Ok(answer) = host.request(Request::Agent(report), Some(interval)).await {
            if answer == Response::Revived {
                host.state().agent_work.resync = true;
                host.notify();
            }
            versions = false;
            // It counts as started after its first look at the bridge.
            start &= !host.peek().agent_work.has_looked(host.now());
        }
        host.sleep_until(started + interval).await;
    }
}

impl Host {
    /// A call of the L2 agent. Each method has a timeout of its own that doubles whenever it is over, and whoever waited
    /// in vain waits some more (`neutron_lib/rpc.py`, `_BackingOffContextWrapper`).
    pub(crate) async fn agent(&self, call: AgentCall) -> Result<Response, Fault> {
        let method = call.name();
        let patience = self.peek().config.options.agent_rpc_response_timeout;
        let timeout = self.peek().agent_work.timeouts.get(method).copied().unwrap_or(patience);
        let answer = self.request(Request::Agent(call), Some(timeout)).await;
        if answer == Err(Fault::TimedOut) {
            let pause = timeout.min(patience).mul_f64(self.state().rng.random::<f64>());
            let longer = (timeout * 2).min(patience * MAX_TIMEOUT_FACTOR);
            self.state().agent_work.timeouts.insert(method, longer);
            self.sleep(pause).await;
        }
        answer
    }

    /// Something of the cloud that the agent knows, or asks for.
    pub(crate) async fn look_up(&self, lookup: Lookup) -> Result<Response, Fault> {
        self.agent(AgentCall::LookUp(lookup)).await
    }
}

/// What Neutron tells all agents of. Most of it concerns none of the ports here.
pub(crate) fn pushed(host: &Host, push: Push) {
    match push {
        Push::Port(port) => {
            // A port that is not on the bridge is dropped by the loop.
            if host.peek().agent_work.bridge.contains(&port) {
                host.state().agent_work.updated.insert(port);
                host.notify();
            }
        }
        Push::Network(network) => {
            let agent = host.clone();
            host.spawn_for(Origin::StartUp, async move { update_network(&agent, network).await });
        }
        Push::Group(group) => refilter(host, &[group]),
        Push::AddressGroup(group) => host.spawn_for(Origin::StartUp, update_address_group(host.clone(), group)),
    }
}

/// What is found at the next look at the bridge.
pub(crate) fn bridge_changed(host: &Host, added: Vec<Uuid>, removed: Vec<Uuid>) {
    let work = &mut host.state().agent_work;
    work.added.extend(added);
    work.removed.extend(removed);
    host.notify();
}

/// Every agent asks for every network that changes, whether it has ports there or not.
pub(crate) async fn update_network(host: &Host, network: Uuid) {
    if host.agent(AgentCall::GetNetwork(network)).await.is_err() {
        return; // the original logs it
    }
    let work = &mut host.state().agent_work;
    let there = work.ports.iter().filter(|(_, wired)| wired.network == network);
    let there: Vec<Uuid> = there.map(|(port, _)| *port).collect();
    work.updated.extend(there);
    host.notify();
}

async fn update_address_group(host: Host, group: Uuid) {
    if let Ok(Response::Groups(groups)) = host.look_up(Lookup::GroupsWithAddresses(group)).await {
        refilter(&host, &groups);
    }
}

/// The filters of the ports in these security groups are made again at the next look at the bridge.
fn refilter(host: &Host, groups: &[Uuid]) {
    let work = &mut host.state().agent_work;
    let within = work.ports.iter().filter(|(_, wired)| wired.groups.iter().any(|group| groups.contains(group)));
    let ports: BTreeSet<Uuid> = within.map(|(port, _)| *port).collect();
    if !ports.is_empty() {
        work.refilter.extend(ports);
        host.notify();
    }
}
