//! The same scenarios in virtual time.
//!
//! Not built yet: the crate holds the place and the answer that the command gives until it is.

use scenarios::Plan;

/// Why a plan cannot be run in virtual time.
#[derive(Debug, thiserror::Error)]
#[error("virtual time is not built yet; run {scenario} with --target live")]
pub struct NotBuilt {
    scenario: String,
}

/// Runs a plan in virtual time.
///
/// # Errors
/// Always, until the simulator is built.
pub fn run(plan: &Plan) -> Result<(), NotBuilt> {
    Err(NotBuilt { scenario: plan.scenario.clone() })
}
