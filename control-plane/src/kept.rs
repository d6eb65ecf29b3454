//! What a run left in the cloud on purpose, for the next one to go on with.
//!
//! The cloud's own databases say which hypervisors are registered and which servers they have. This file says what they do not:
//! whose they are, how the users log in, and what each hypervisor offers.

use std::collections::BTreeSet;

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

    /// The users of a run that asks for these: the first ones of the first projects. Where there are too few, those that there are.
    pub(crate) fn users_for(&self, asked: &TenantsPlan) -> Vec<&KeptUser> {
        let mut projects = BTreeSet::new();
        let chosen = self.users.iter().filter(|user| {
            if projects.len() < asked.projects as usize {
                projects.insert(&user.project);
            }
            projects.contains(&user.project)
        });
        chosen.take(asked.users as usize).collect()
    }

    /// Whether a plan can go on with it: `None`, or what it asks for that is not there, or was made otherwise.
    pub fn misfit(&self, plan: &Plan) -> Option<String> {
        let (made, asked) = (&self.fleet, &plan.fleet);
        let (tenants, wanted) = (&self.tenants, &plan.tenants);
        let users = self.users_for(wanted).len();
        let with_nics = |load: &LoadPlan| matches!(load.operation, Operation::Boot { nics, .. } if nics > 0);
        // Where fewer hypervisors or tenants are asked for, those that are too many stay at rest.
        if made.l2_agent != asked.l2_agent {
            return Some(format!("fleet.l2_agent: {} there, {} asked for", made.l2_agent, asked.l2_agent));
        }
        if tenants.projects < wanted.projects {
            return Some(format!("tenants.projects: {} there, {} asked for", tenants.projects, wanted.projects));
        }
        if users < wanted.users as usize {
            let projects = wanted.projects;
            return Some(format!(
                "tenants.users: {users} there with tenants.projects = {projects}, {} asked for",
                wanted.users
            ));
        }
        if asked.resources != made.resources {
            return Some("fleet.resources, or the allocation ratios, are others".to_owned());
        }
        let lacks_network = self.network.is_none() && plan.load.iter().any(with_nics);
        lacks_network.then(|| "servers with NICs are asked for, and there is no network".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(projects: u32, users: u32) -> Kept {
        let user = |n: u32| KeptUser {
            id: n.to_string(),
            name: format!("user-{n}"),
            password: crate::secret::generate(),
            project: format!("project-{}", n % projects),
        };
        let plan = plan(projects, users);
        Kept {
            run: RunName::generate(),
            seed: 1,
            fleet: plan.fleet,
            tenants: plan.tenants,
            users: (0..users).map(user).collect(),
            network: None,
            image: String::new(),
            flavors: [String::new(), String::new()],
        }
    }

    fn plan(projects: u32, users: u32) -> Plan {
        let text = format!(
            "name = \"small\"\ndescription = \"Tenants\"\n[tenants]\nprojects = {projects}\nusers = {users}\n[fleet]\nhypervisors = 1\n\
             l2_agent = false\n[[load]]\noperation = \"list\"\narrivals = \"constant\"\nrate = \"1/s\"\ncount = 1\n"
        );
        scenarios::resolve(&scenarios::Source { name: "small.toml".to_owned(), text }, &[], None).unwrap()
    }

    #[test]
    fn a_run_may_ask_for_fewer_tenants() {
        let kept = kept(3, 7);
        let names = |projects, users| {
            let users = kept.users_for(&plan(projects, users).tenants);
            users.iter().map(|user| user.name.trim_start_matches("user-")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(3, 7), "0 1 2 3 4 5 6");
        assert_eq!(names(1, 1), "0");
        assert_eq!(names(2, 4), "0 1 3 4");
        for (projects, users) in [(3, 7), (1, 3), (2, 5)] {
            assert_eq!(kept.misfit(&plan(projects, users)), None);
        }
    }

    #[test]
    fn a_run_that_asks_for_more_does_not_fit() {
        let kept = kept(3, 7);
        let misfit = |projects, users| kept.misfit(&plan(projects, users)).unwrap();
        assert_eq!(misfit(4, 7), "tenants.projects: 3 there, 4 asked for");
        assert_eq!(misfit(3, 8), "tenants.users: 7 there with tenants.projects = 3, 8 asked for");
        assert_eq!(misfit(1, 4), "tenants.users: 3 there with tenants.projects = 1, 4 asked for");
    }
}
