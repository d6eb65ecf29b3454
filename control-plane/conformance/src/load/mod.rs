//! Whether simulated hypervisors are the same load as real ones: so many of each kind, one kind at a time on the same cloud,
//! first idle, then with the same boots and deletes, and everything counted that the cloud had to do for them.
//!
//! Each kind has two turns, real, simulated, simulated, real: a cloud that grows older works more for the same, and in this order
//! that cancels in the sums. What two turns of one kind differ by is what the measurement cannot tell apart.
//!
//! | what | counted |
//! |---|---|
//! | conductor calls, RPC, AMQP messages and bytes | by relays before each hypervisor: exact, and only the hypervisor's own |
//! | HTTP requests | by relays too; the services' logs would mix in the harness's own and those among services |
//! | statements of the database | MariaDB's global counters: of the whole cloud, the harness's API requests included |
//! | CPU | `/proc`, all processes of each service: of the whole cloud, too |
//!
//! A piece of work that never changes is done all along, and all CPU is told as of a machine on which that takes the same all the
//! time: neighbours of a shared machine slow it down by a third within a run.
//!
//! Relays cost the harness CPU, and the cloud none. Real nova-computes run on the same machine as the cloud and compete with it for
//! CPU; beside simulated ones a ballast takes what real ones would take for the same requests.

mod ballast;
mod equivalence;
mod pace;
mod periods;
mod stage;
mod table;
mod tally;

use std::{collections::BTreeMap, path::Path, time::Duration};

use control_plane::Cloud;

pub use equivalence::{Likeness, LoadReport, Row, Window};
pub use periods::Period;
pub use tally::Group;
pub(crate) use tally::{Figures, Key, Tally};

use equivalence::{Measured, equivalence};

use crate::{
    Kind, LabError, Stage,
    lab::{Lab, Scale},
};

/// What is done to each kind, in each of its turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPlan {
    /// Hypervisors of the kind.
    pub hosts: u32,
    /// How long they are idle.
    pub idle: Duration,
    /// Servers that are booted and deleted after that, spread over the hosts in turn, one NIC each.
    pub boots: u32,
}

/// Whose turn it is, in order.
const TURNS: [(Kind, &str); 4] = [
    (Kind::Real, "real, first turn"),
    (Kind::Simulated, "simulated, first turn"),
    (Kind::Simulated, "simulated, second turn"),
    (Kind::Real, "real, second turn"),
];

/// Measures real nova-computes and simulated ones, in two turns each. Says what it is doing through `tell`.
///
/// Gives `None` when it was interrupted; what it made is removed then, too.
///
/// # Errors
/// When the cloud does not do its part.
pub async fn load(
    cloud: &Cloud,
    plan: &LoadPlan,
    folder: &Path,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Option<LoadReport>, LabError> {
    let mut turns: Vec<Vec<Measured>> = Vec::new();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    for (kind, name) in TURNS {
        let say = |what: &str| tell(&format!("{name}: {what}"));
        let scale = Scale { hosts: plan.hosts, stage: Stage::Plain, counting: true };
        let folder = folder.join(turns.len().to_string());
        let mut lab = Lab::prepare(cloud, &[kind], &BTreeMap::new(), &folder, scale).await?;
        let beside = turns.first().filter(|_| kind == Kind::Simulated).map(Vec::as_slice);
        let measured = tokio::select! {
            biased;
            // Also when it came while the turn before was cleared away.
            _ = interrupt.as_mut() => Ok(None),
            measured = stage::measure(&mut lab, plan, beside, &say) => measured.map(Some),
        };
        say("stopping them, and removing what was made ...");
        let left = lab.close().await;
        let Some(windows) = measured? else { return Ok(None) };
        windows.iter().for_each(|window| say(&window.to_string()));
        turns.push(windows);
        match left?.as_str() {
            "nothing" => {}
            left => say(&format!("left in the cloud: {left}")),
        }
    }
    let of = |kind: Kind, window: usize| {
        let mut mine = TURNS.iter().zip(&turns).filter(|((whose, _), _)| *whose == kind);
        [(); 2].map(|()| &mine.next().expect("each kind has two turns").1[window])
    };
    let [idle, loaded] = [0, 1].map(|window| (of(Kind::Real, window), of(Kind::Simulated, window)));
    // What is said while idle is said periodically.
    let periodic = idle.0.iter().chain(&idle.1).flat_map(|measured| measured.figures.keys()).collect();
    let windows = [idle, loaded].map(|(real, simulated)| equivalence(real, simulated, plan, &periodic));
    Ok(Some(LoadReport {
        release: cloud.spec.release.clone(),
        hosts: plan.hosts,
        boots: plan.boots,
        boots_per_s: stage::BOOTS_PER_S,
        periods: periods::fits(&cloud.spec.release, &cloud.spec.tuning, plan.idle),
        windows: windows.into(),
    }))
}
