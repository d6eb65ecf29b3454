//! L2 agents: an unmodified neutron-openvswitch-agent on an Open vSwitch of its own, beside a simulated one.

mod real;
mod stage;
mod verdict;

use std::{path::Path, time::Duration};

use control_plane::Cloud;

use self::{
    real::OpenVswitch,
    stage::{Ports, Stage},
};
use crate::{lab::LabError, verdict::Verdict};

/// What came of comparing L2 agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agents {
    /// They were compared.
    Compared {
        /// One for each operation.
        verdicts: Vec<Verdict>,
        /// Whether it was not interrupted.
        complete: bool,
    },
    /// A real one cannot run here, and why.
    Skipped(String),
}

/// How often the agents report; Neutron's default is every 30 s.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Reports that are compared of agents that have nothing to do.
const IDLE_REPORTS: u32 = 2;

/// Does the same to a real and to a simulated L2 agent, and tells each verdict when it is there. `folder` is for what it writes.
///
/// # Errors
/// When the cloud does not do its part, or an agent does not start.
pub async fn compare_agents(cloud: &Cloud, folder: &Path, tell: impl FnMut(&Verdict)) -> Result<Agents, LabError> {
    if let Some(reason) = OpenVswitch::obstacle() {
        return Ok(Agents::Skipped(reason));
    }
    let mut stage = Stage::open(cloud, folder, tell).await?;
    let done = tokio::select! {
        done = do_all(&mut stage) => done.map(|()| true),
        _ = tokio::signal::ctrl_c() => {
            eprintln!("Interrupted; cleaning up ...");
            Ok(false)
        }
    };
    let verdicts = stage.close().await;
    Ok(Agents::Compared { complete: done?, verdicts: verdicts? })
}

async fn do_all(stage: &mut Stage<impl FnMut(&Verdict)>) -> Result<(), LabError> {
    stage.judge_start().await?;

    let network = stage.create_network().await?;
    stage.judge("agent-network-create").await?;

    stage.rename("/networks", &network).await?;
    stage.judge("agent-network-update").await?;

    let first = stage.create_ports(&network).await?;
    stage.judge("agent-port-create").await?;

    stage.plug(&first).await?;
    stage.judge("agent-port-plug").await?;

    let second = stage.create_ports(&network).await?;
    stage.plug(&second).await?;
    stage.judge("agent-port-of-a-known-group").await?;

    for port in &first.0 {
        stage.rename("/ports", port).await?;
    }
    stage.judge("agent-port-update").await?;

    stage.rename("/networks", &network).await?;
    stage.judge("agent-network-update-with-ports").await?;

    stage.unplug(&first).await?;
    stage.judge("agent-port-unplug").await?;

    let Ports(ports) = &first;
    for port in ports {
        stage.delete("/ports", port).await?;
    }
    stage.judge("agent-port-delete").await?;

    tokio::time::sleep(REPORT_INTERVAL * (IDLE_REPORTS + 1)).await;
    stage.judge_idle("agent-idle", IDLE_REPORTS as usize);
    Ok(())
}
