//! Carrying operations out on each kind of hypervisors.

use std::{collections::BTreeMap, time::Duration};

use control_plane::load::delete_servers;
use serde::{Deserialize, Serialize};

use crate::{
    lab::{Lab, LabError, Side},
    operations::{self, Operation},
    scene::{Scene, Variation},
    trace::Trace,
};

/// What the hypervisors of one kind said and heard of one operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// The operation.
    pub operation: String,
    /// The availability zone of the hypervisors.
    pub zone: String,
    /// Options that its first hypervisor had over the laboratory's.
    #[serde(default)]
    pub options: BTreeMap<String, i64>,
    /// What went wrong, if it did.
    pub failure: Option<String>,
    /// One for each hypervisor.
    pub traces: Vec<Trace>,
}

/// How much later than the side before it one begins. nova-scheduler's workers share a connection to Placement that was opened
/// before they were forked: two that ask at the same moment get each other's answers, and fail.
const APART: Duration = Duration::from_millis(400);

/// Does an operation on all sides of the laboratory, beginning shortly one after another, on each in its own variation.
///
/// # Errors
/// When the cloud does not do its part; what the operation itself runs into is in the result.
pub async fn record(lab: &Lab, operation: &Operation, variations: &[Variation]) -> Result<Vec<Recorded>, LabError> {
    let sides = (0_u32..).zip(lab.sides.iter().zip(variations));
    let both = sides.map(async |(number, (side, variation))| {
        tokio::time::sleep(APART * number).await;
        on_side(lab, side, operation, *variation).await
    });
    let recorded = futures_util::future::try_join_all(both).await?;
    let ours = |name: &control_plane::load::RunName| *name == lab.tenants.run;
    delete_servers(&lab.admin, &ours).await?;
    Ok(recorded)
}

/// Name of what is compared of each laboratory besides its operations.
pub const START_UP: &str = "start-up";

/// What the hypervisors said while they started for the first time.
pub fn start_up(lab: &Lab) -> Vec<Recorded> {
    let of = |side: &Side| {
        let traces = side.subjects.iter().map(|subject| Trace::new(&subject.host, subject.tap.since(0)));
        Recorded {
            operation: START_UP.to_owned(),
            zone: side.zone.clone(),
            options: BTreeMap::new(),
            failure: None,
            traces: traces.collect(),
        }
    };
    lab.sides.iter().map(of).collect()
}

async fn on_side(lab: &Lab, side: &Side, operation: &Operation, variation: Variation) -> Result<Recorded, LabError> {
    let scene = Scene::new(lab, side, operation.name, variation);
    // What is still said of the one before does not belong to this one.
    scene.begin().await;
    let failure = (operation.act)(&scene).await.err().map(|error| error.to_string());
    let options = scene.options();
    let traces = scene.end().await?;
    Ok(Recorded { operation: operation.name.to_owned(), zone: side.zone.clone(), options, failure, traces })
}

/// The operations of these names, or all.
///
/// # Errors
/// The first name that none has.
pub fn choose(names: &[String]) -> Result<Vec<&'static Operation>, String> {
    if names.is_empty() {
        return Ok(operations::all_operations().collect());
    }
    names.iter().map(|name| operations::find(name).ok_or_else(|| name.clone())).collect()
}
