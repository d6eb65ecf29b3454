//! Where an OpenStack is and who we are there.

use crate::{Cloud, Credentials, Secret};

/// URLs of the services that the load talks to, each with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apis {
    /// Keystone: ends in `/v3`.
    pub identity: String,
    /// Nova: ends in `/v2.1`.
    pub compute: String,
    /// Neutron: ends in `/v2.0`.
    pub network: String,
    /// Glance: ends in `/v2`.
    pub image: String,
    /// Placement: no version in its path.
    pub placement: String,
}

/// A user with a password, and the project that its tokens are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// Password of the user.
    pub password: Secret,
    /// Name of the project.
    pub project: String,
    /// Name of the user's domain.
    pub user_domain: String,
    /// Name of the project's domain.
    pub project_domain: String,
}

/// The domain that every Keystone has.
pub(crate) const DEFAULT_DOMAIN: &str = "Default";

impl Login {
    /// A user and a project of the domain `Default`.
    pub fn in_default_domain(user: &str, password: &Secret, project: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.clone(),
            project: project.to_owned(),
            user_domain: DEFAULT_DOMAIN.to_owned(),
            project_domain: DEFAULT_DOMAIN.to_owned(),
        }
    }
}

impl From<&Credentials> for Login {
    fn from(credentials: &Credentials) -> Self {
        Self::in_default_domain(&credentials.user, &credentials.password, &credentials.project)
    }
}

impl From<&Cloud> for Apis {
    fn from(cloud: &Cloud) -> Self {
        Self {
            identity: cloud.identity_url.clone(),
            compute: cloud.compute_url.clone(),
            network: format!("{}/v2.0", cloud.network_url),
            image: format!("{}/v2", cloud.image_url),
            placement: cloud.placement_url.clone(),
        }
    }
}
