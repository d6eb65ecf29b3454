//! The Neutron L2 agent beside nova-compute (`neutron/plugins/ml2/drivers/openvswitch/agent`).

use std::time::Duration;

use crate::{AgentCall, Fault, Notice, executor::Host};

/// `[AGENT] polling_interval` of the Open vSwitch agent.
const POLLING_INTERVAL: Duration = Duration::from_secs(2);

/// Reports the agent's state: a call until one goes through, then casts, every `[AGENT] report_interval`.
pub(crate) async fn report_states(host: Host) {
    let interval = host.peek().config.options.agent_report_interval;
    let mut announced = false;
    loop {
        let started = host.now();
        if announced {
            host.notice(Notice::AgentState);
        } else {
            announced = host.agent(AgentCall::ReportState { start: true }).await.is_ok();
        }
        host.sleep_until(started + interval).await;
    }
}

/// Looks for new and gone ports every polling interval and tells neutron-rpc-server.
pub(crate) async fn wire_ports(host: Host) {
    loop {
        host.watch(None, |state| {
            let work = &state.agent_work;
            (!work.added.is_empty() || !work.removed.is_empty()).then_some(())
        })
        .await;
        // The agent's loop looks at its bridge at fixed times; what appears in between waits for the next one.
        let into_interval = host.now().since_origin().as_nanos() % POLLING_INTERVAL.as_nanos();
        let rest = POLLING_INTERVAL - Duration::from_nanos(u64::try_from(into_interval).unwrap_or(0));
        host.sleep(rest).await;
        let work = std::mem::take(&mut host.state().agent_work);
        if let Err(_fault) = tell(&host, &work.added, &work.removed).await {
            // Full resynchronisation: everything is tried again at the next turn.
            let mut state = host.state();
            state.agent_work.added.extend(work.added);
            state.agent_work.removed.extend(work.removed);
        }
    }
}

async fn tell(host: &Host, added: &[uuid::Uuid], removed: &[uuid::Uuid]) -> Result<(), Fault> {
    if !added.is_empty() {
        host.agent(AgentCall::GetDeviceDetails(added.to_vec())).await?;
        host.agent(AgentCall::DevicesUp(added.to_vec())).await?;
    }
    if !removed.is_empty() {
        host.agent(AgentCall::DevicesDown(removed.to_vec())).await?;
    }
    Ok(())
}
