//! The loop of the L2 agent: what changed on its bridge since the last look is wired, or reported gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    AgentCall, Fault, Lookup, Response, Time,
    agent::{self, POLLING_INTERVAL},
    executor::Host,
};

/// Neutron's `rpc_resources_processing_step`: ports in one call at most.
const PORTS_IN_A_CALL: usize = 20;

/// A port that the agent has wired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wired {
    pub(crate) network: Uuid,
    pub(crate) groups: Vec<Uuid>,
}

/// What the L2 agent has to do, and what it knows.
#[derive(Debug, Default)]
pub(crate) struct AgentWork {
    /// Ports that appeared on the bridge since the last look.
    pub(crate) added: Vec<Uuid>,
    /// Ports that went.
    pub(crate) removed: Vec<Uuid>,
    /// Ports that Neutron told of.
    pub(crate) updated: BTreeSet<Uuid>,
    /// Ports whose filters are to be made again.
    pub(crate) refilter: BTreeSet<Uuid>,
    /// Something failed, or Neutron had given the agent up: everything is done again.
    pub(crate) resync: bool,
    /// Ports on the bridge.
    pub(crate) bridge: BTreeSet<Uuid>,
    /// Those of them that the agent has taken care of.
    pub(crate) ports: BTreeMap<Uuid, Wired>,
    /// Ports on the bridge when it was last read as a whole.
    pub(crate) devices: usize,
    /// When the loop began.
    pub(crate) begun: Option<Time>,
    /// Timeouts that were too short before.
    pub(crate) timeouts: BTreeMap<&'static str, Duration>,
}

/// What one look at the bridge found.
#[derive(Debug, Default)]
struct Found {
    added: BTreeSet<Uuid>,
    updated: BTreeSet<Uuid>,
    removed: BTreeSet<Uuid>,
    refilter: BTreeSet<Uuid>,
}

impl AgentWork {
    /// Whether the first turn of the loop is over.
    pub(crate) fn has_looked(&self, now: Time) -> bool {
        self.begun.is_some_and(|begun| now >= begun + POLLING_INTERVAL)
    }

    fn is_waiting(&self) -> bool {
        self.resync
            || !(self.added.is_empty()
                && self.removed.is_empty()
                && self.updated.is_empty()
                && self.refilter.is_empty())
    }

    /// `process_ports_events`, or `scan_ports` after something failed. A port that came and went between two looks was never
    /// there.
    fn look(&mut self) -> Found {
        let (came, went) = (std::mem::take(&mut self.added), std::mem::take(&mut self.removed));
        self.bridge.extend(came);
        for port in went {
            self.bridge.remove(&port);
        }
        let resync = std::mem::take(&mut self.resync);
        if resync {
            self.devices = self.bridge.len();
        }
        let is_new = |port: &&Uuid| resync || !self.ports.contains_key(*port);
        let added = self.bridge.iter().filter(is_new).copied().collect();
        let removed = self.ports.keys().filter(|port| !self.bridge.contains(*port)).copied().collect();
        let mut updated = std::mem::take(&mut self.updated);
        updated.retain(|port| self.bridge.contains(port));
        Found { added, updated, removed, refilter: std::mem::take(&mut self.refilter) }
    }
}

/// Looks at the bridge every polling interval; a turn that takes longer is followed by the next at once.
pub(crate) async fn run(host: Host) {
    let mut begun = host.now();
    let mut first = true;
    loop {
        let found = host.state().agent_work.look();
        let updated = found.updated.clone();
        if let Err(_fault) = process(&host, found, first).await {
            let work = &mut host.state().agent_work;
            work.updated.extend(updated);
            work.resync = true;
        }
        first = false;
        begun = next_look(&host, begun).await;
    }
}

/// Waits for the next look that has something to do. What appears in between waits for it.
async fn next_look(host: &Host, begun: Time) -> Time {
    let soonest = (begun + POLLING_INTERVAL).max(host.now());
    host.sleep_until(soonest).await;
    host.watch(None, |state| state.agent_work.is_waiting().then_some(())).await;
    let into_turn = (host.now() - soonest).as_nanos() % POLLING_INTERVAL.as_nanos();
    if into_turn == 0 {
        return host.now();
    }
    let rest = POLLING_INTERVAL - Duration::from_nanos(u64::try_from(into_turn).unwrap_or(0));
    let due = host.now() + rest;
    host.sleep_until(due).await;
    due
}

/// `process_network_ports`.
async fn process(host: &Host, found: Found, first: bool) -> Result<(), Fault> {
    let changed: Vec<Uuid> = found.added.union(&found.updated).copied().collect();
    let (mut up, mut here) = (Vec::new(), BTreeMap::new());
    for port in changed {
        match wire(host, port, first).await {
            Ok(Some((wired, needs_binding))) => {
                up.extend(needs_binding.then_some(port));
                here.insert(port, wired);
            }
            Ok(None) => {}
            // It is tried again at the next turn; the others go on.
            Err(Fault::TimedOut | Fault::Remote(_)) if found.added.contains(&port) => {
                host.state().agent_work.added.push(port);
            }
            Err(fault) => return Err(fault),
        }
    }
    filter(host, here.iter().filter(|(port, _)| found.added.contains(*port)).map(|(_, wired)| wired)).await?;
    let refresh: Vec<Wired> = {
        let work = &host.peek().agent_work;
        let again = found.updated.union(&found.refilter).filter(|port| !found.added.contains(*port));
        again.filter_map(|port| here.get(port).or_else(|| work.ports.get(port))).cloned().collect()
    };
    filter(host, refresh.iter()).await?;
    for ports in up.chunks(PORTS_IN_A_CALL) {
        host.agent(AgentCall::DevicesUp { ports: ports.to_vec(), refresh_tunnels: first }).await?;
    }
    let removed: Vec<Uuid> = found.removed.iter().copied().collect();
    for ports in removed.chunks(PORTS_IN_A_CALL) {
        host.agent(AgentCall::DevicesDown(ports.to_vec())).await?;
    }
    let work = &mut host.state().agent_work;
    work.ports.retain(|port, _| !found.removed.contains(port));
    for port in found.added {
        work.ports.entry(port).or_default();
    }
    work.ports.extend(here);
    Ok(())
}

/// What Neutron has of a port, and whether it is to be reported up. `None`: Neutron has no such port on this host.
async fn wire(host: &Host, port: Uuid, first: bool) -> Result<Option<(Wired, bool)>, Fault> {
    let found = match host.look_up(Lookup::Port(port)).await? {
        Response::AgentPort(Some(found)) if found.bound => found,
        _ => return Ok(None),
    };
    if found.asked && !first {
        // What was asked for counts as news of the port, to be looked at once more.
        host.state().agent_work.updated.insert(port);
    }
    if host.look_up(Lookup::Network(found.network)).await?.found() {
        // So does a network, here and now.
        agent::update_network(host, found.network).await;
    }
    if !found.admin_up {
        host.agent(AgentCall::DeviceDown(port)).await?;
    }
    Ok(Some((Wired { network: found.network, groups: found.groups }, found.admin_up)))
}

/// `_apply_port_filter`: the rules of the ports' security groups, the groups, and the members of the groups in the rules.
async fn filter(host: &Host, ports: impl Iterator<Item = &Wired>) -> Result<(), Fault> {
    let groups: BTreeSet<Uuid> = ports.flat_map(|wired| wired.groups.iter().copied()).collect();
    let (mut members, mut addresses) = (Vec::new(), BTreeSet::new());
    for group in &groups {
        if let Response::Remotes { groups, address_groups } = host.look_up(Lookup::Rules(*group)).await? {
            for remote in groups {
                if !members.contains(&remote) {
                    members.push(remote);
                }
            }
            addresses.extend(address_groups);
        }
    }
    for group in groups {
        host.look_up(Lookup::Group(group)).await?;
    }
    if !members.is_empty() {
        host.look_up(Lookup::Members(members)).await?;
    }
    for group in addresses {
        host.look_up(Lookup::AddressGroup(group)).await?;
    }
    Ok(())
}
