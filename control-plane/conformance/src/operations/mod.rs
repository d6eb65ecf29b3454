//! Everything that is done to hypervisors of both kinds.

mod builds;
mod lifecycle;
mod service;

use std::{future::Future, pin::Pin};

use crate::{
    lab::{LabError, Stage},
    scene::Scene,
};

type Act = for<'a> fn(&'a Scene<'a>) -> Pin<Box<dyn Future<Output = Result<(), LabError>> + 'a>>;

/// Something that can be done to a hypervisor.
pub struct Operation {
    /// As the table and `--operation` have it.
    pub name: &'static str,
    /// Which hypervisors it is done to.
    pub stage: Stage,
    pub(crate) act: Act,
}

/// A list of operations on one stage, each with its name and what is done in a scene.
macro_rules! operations {
    ($stage:expr, $($name:literal: |$scene:ident| $body:block)*) => {
        /// In the order they are done.
        pub(crate) const ALL: &[$crate::operations::Operation] = {
            use $crate::lab::Stage;
            &[$($crate::operations::Operation {
                name: $name,
                stage: $stage,
                act: |$scene| Box::pin(async move { $body; Ok(()) }),
            }),*]
        };
    };
}
pub(crate) use operations;

/// All of them, stage by stage.
pub fn all_operations() -> impl Iterator<Item = &'static Operation> {
    let lists = [builds::ALL, lifecycle::ALL, service::ALL, builds::reschedules::ALL, builds::aborts::ALL];
    lists.into_iter().flatten()
}

/// Those in which Nova asks a hypervisor for something that `learn` can learn.
pub fn learnable() -> impl Iterator<Item = &'static Operation> {
    let repaired = find("idle-power-state-repaired");
    lifecycle::ALL.iter().chain(repaired)
}

/// What a hypervisor does in its life and cannot be done here, each with the reason.
pub const SKIPPED: [(&str, &str); 2] =
    [("attach-volume", "the cloud has no Cinder"), ("detach-volume", "the cloud has no Cinder")];

/// The operation of this name.
pub(crate) fn find(name: &str) -> Option<&'static Operation> {
    all_operations().find(|operation| operation.name == name)
}
