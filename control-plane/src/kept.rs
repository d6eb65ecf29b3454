//! What a run left in the cloud on purpose, for the next one to go on with.
//!
//! The cloud's own databases say which hypervisors are registered and which servers they have. This file says what they do not:
//! whose they are, how the users log in, and what each hypervisor offers.

use fake_hv::Tokens;
use scenarios::plan::{FleetPlan, LoadPlan, Operation, Plan, TenantsPlan};
use serde::{Deserialize, Serialize};

use crate::{Secret, StateDir, UpError, load::RunName};

/// File of the state folder.
pub(crate) const KEPT_FILE: &str = "kept.json";

/// Another: the tokens that its hypervisors have, of which Keystone does not tell. A nova-compute that has one does not log in.
pub(crate) const TOKENS_FILE: &str = "tokens.json";

/// Tenants and hypervisors that stay when a run ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Everything has a name that begins with this.
    pub run: RunName,
    /// Seed of the run that made them: of the hosts' jitter and delays.
    pub seed: u64,
    /// The fleet as it was asked for.
    pub fleet: FleetPlan,
    /// How many projects and users were asked for.
    pub tenants: TenantsPlan,
    /// The users.
    pub users: Vec<KeptUser>,
    /// The network, where NICs were asked for.
    pub network: Option<String>,
    /// The image that servers are booted from.
    pub image: String,
    /// The flavor that servers are booted with, and the larger one.
    pub flavors: [String; 2],
}

/// A user, and how to log in as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptUser {
    /// UUID in Keystone.
    pub id: String,
    /// Name.
    pub name: String,
    /// Password.
    pub password: Secret,
    /// Name of the project.
    pub project: String,
}

impl Kept {
    /// What is kept in a state folder; `None`: nothing.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(state: &StateDir) -> Result<Option<Self>, UpError> {
        state.read_json(KEPT_FILE)
    }

    /// Notes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, state: &StateDir) -> Result<(), UpError> {
        state.write_json(KEPT_FILE, self)
    }

    /// The tokens of its hypervisors.
    pub(crate) fn tokens(state: &StateDir) -> Result<Tokens, UpError> {
        Ok(state.read_json(TOKENS_FILE)?.unwrap_or_default())
    }

    /// Notes tokens of its hypervisors; those of hypervisors that stayed at rest are left.
    pub(crate) fn add_tokens(state: &StateDir, tokens: Tokens) -> Result<(), UpError> {
        let mut all = Self::tokens(state)?;
        all.extend(tokens);
        state.write_json(TOKENS_FILE, &all)
    }

    /// Whether a plan can go on with it: `None`, or what it asks for that was made otherwise.
    pub fn misfit(&self, plan: &Plan) -> Option<String> {
        let (made, asked) = (&self.fleet, &plan.fleet);
        let (tenants, wanted) = (&self.tenants, &plan.tenants);
        let with_nics = |load: &LoadPlan| matches!(load.operation, Operation::Boot { nics, .. } if nics > 0);
        let same = [
            ("fleet.l2_agent", made.l2_agent.to_string(), asked.l2_agent.to_string()),
            ("tenants.projects", tenants.projects.to_string(), wanted.projects.to_string()),
            ("tenants.users", tenants.users.to_string(), wanted.users.to_string()),
        ];
        // Where fewer hypervisors are asked for, those that are too many stay at rest.
        if let Some((what, made, asked)) = same.into_iter().find(|(_, made, asked)| made != asked) {
            return Some(format!("{what}: {made} there, {asked} asked for"));
        }
        if asked.resources != made.resources {
            return Some("fleet.resources, or the allocation ratios, are others".to_owned());
        }
        let lacks_network = self.network.is_none() && plan.load.iter().any(with_nics);
        lacks_network.then(|| "servers with NICs are asked for, and there is no network".to_owned())
    }
}
