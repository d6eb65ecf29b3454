//! Where the services are that a nova-compute talks to over HTTP.

use serde::{Deserialize, Serialize};

use crate::Secret;

/// URLs and credentials, as they stand in a nova-compute's `[placement]` and `[neutron]` sections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceApis {
    /// Keystone, without `/v3`.
    pub identity_url: String,
    /// Placement.
    pub placement_url: String,
    /// Glance, without `/v2`.
    pub image_url: String,
    /// Neutron, without `/v2.0`.
    pub network_url: String,
    /// The service user, with the roles `admin` and `service`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Its project.
    pub project: String,
    /// Domain of the user and of the project.
    pub domain: String,
}
