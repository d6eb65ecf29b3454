//! Everything that tasks do, by number.

use super::{
    conductor::ConductorOps,
    glance::GlanceOps,
    keystone::KeystoneOps,
    neutron::NeutronOps,
    nova_api::NovaApiOps,
    placement::PlacementOps,
    scheduler::SchedulerOps,
    task::{OpId, Recipe},
};
use crate::calibration::Calibration;

/// Recipes as they are being written.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    pub(crate) recipes: Vec<Recipe>,
}

impl Ops {
    pub(crate) fn add(&mut self, recipe: Recipe) -> OpId {
        self.recipes.push(recipe);
        OpId::try_from(self.recipes.len() - 1).expect("there are some dozens of recipes")
    }
}

/// All recipes, and where each service's are.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) recipes: Vec<Recipe>,
    pub(crate) conductor: ConductorOps,
    pub(crate) scheduler: SchedulerOps,
    pub(crate) keystone: KeystoneOps,
    pub(crate) placement: PlacementOps,
    pub(crate) glance: GlanceOps,
    pub(crate) neutron: NeutronOps,
    pub(crate) nova_api: NovaApiOps,
}

impl Catalogue {
    pub(crate) fn new(calibration: &Calibration, password_hash_rounds: u32) -> Self {
        let mut ops = Ops::default();
        let conductor = ConductorOps::new(&mut ops, calibration);
        let scheduler = SchedulerOps::new(&mut ops, calibration);
        let keystone = KeystoneOps::new(&mut ops, calibration, password_hash_rounds);
        let placement = PlacementOps::new(&mut ops, calibration);
        let glance = GlanceOps::new(&mut ops, calibration);
        let neutron = NeutronOps::new(&mut ops, calibration);
        let nova_api = NovaApiOps::new(&mut ops, calibration);
        Self { recipes: ops.recipes, conductor, scheduler, keystone, placement, glance, neutron, nova_api }
    }
}
