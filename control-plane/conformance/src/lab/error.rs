//! What is in the way of an experiment.

use std::time::Duration;

use control_plane::{UpError, live::LiveError, load::ApiError};
use fake_hv::FleetError;

/// Something in the way of an experiment.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The cloud's own doing.
    #[error(transparent)]
    Cloud(#[from] UpError),
    /// Its administrator could not log in.
    #[error(transparent)]
    Login(#[from] LiveError),
    /// A request to one of its APIs failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The simulated hypervisors did not start.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A port or a file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something else came.
    #[error("{what} was to come, and this came instead: {was}")]
    Otherwise {
        /// What was to come.
        what: String,
        /// What came.
        was: String,
    },
    /// It took too long.
    #[error("{what} did not happen within {} s: {last}", within.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// What was there instead.
        last: String,
    },
}
