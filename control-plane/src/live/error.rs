//! Why a plan could not be carried out.

use crate::{UpError, load::ApiError};

/// Why a plan could not be carried out on a real cloud.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The scenario names a cloud that cannot be found or understood.
    #[error("{0}")]
    Cloud(String),
    /// The administrator cannot log in.
    #[error("cannot log in to {url} as {user}: {reason}\n{advice}")]
    Login {
        /// Keystone.
        url: String,
        /// The administrator.
        user: String,
        /// What Keystone, or the network, said.
        reason: String,
        /// What to look at.
        advice: &'static str,
    },
    /// A request to the cloud failed.
    #[error("{step}: {source}")]
    Api {
        /// What the request was for.
        step: &'static str,
        /// What happened.
        source: ApiError,
    },
    /// The fleet could not be started.
    #[error("the fleet: {0}")]
    Fleet(#[from] fake_hv::FleetError),
    /// A process of the fleet has ended while it was needed.
    #[error("{0}")]
    FleetLost(String),
    /// The fleet needs more files than its processes may have.
    #[error(
        "the fleet needs {needed} connections, and a process may have {limit} open files: raise that limit (ulimit -n), or set \
         fleet.connections to single or shared"
    )]
    TooManyConnections {
        /// Connections to the broker.
        needed: u64,
        /// Open files that a process may have (`RLIMIT_NOFILE`).
        limit: u64,
    },
    /// A real nova-compute could not be started.
    #[error("a real nova-compute beside the simulated ones: {0}")]
    RealCompute(UpError),
    /// It cannot be told which hypervisors are up.
    #[error("{0}")]
    Register(String),
    /// Not all hypervisors came up in time.
    #[error("{0}")]
    Overwhelmed(String),
    /// What an earlier run left cannot be gone on with, or what this one leaves cannot be noted.
    #[error("what runs leave for one another: {0}")]
    Kept(String),
    /// A file of the run could not be written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The user stopped the run.
    #[error("stopped by the user")]
    Interrupted,
}

impl LiveError {
    /// An API error in a step of the run.
    pub(super) fn api(step: &'static str) -> impl Fn(ApiError) -> Self {
        move |source| Self::Api { step, source }
    }
}
