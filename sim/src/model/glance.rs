//! Glance: the image that a server is booted from is looked up at each boot.
//!
//! Left out: image data; hypervisors fetch images in a time that the scenario gives.

use super::{
    ServiceId, World,
    ops::Ops,
    recipes::plain,
    task::{Flow, OpId, Recipe, TaskId},
};
use crate::calibration::Calibration;

pub(crate) const SERVICE: &str = "glance";

/// The operations of Glance.
#[derive(Debug)]
pub(crate) struct GlanceOps {
    image: OpId,
}

impl GlanceOps {
    pub(crate) fn new(ops: &mut Ops, calibration: &Calibration) -> Self {
        let steps = plain(calibration.work(SERVICE, "GET /v2/images/{id}"), None, None);
        Self { image: ops.add(Recipe { name: "glance GET /v2/images/{id}".to_owned(), steps }) }
    }
}

/// Which image is it?
pub(crate) fn ask_image(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.glance.image;
    world.ask(task, ServiceId::Glance, op)
}
