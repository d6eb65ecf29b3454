//! The cloud that a run works on: the harness's own, or one that the scenario names.

use std::ffi::OsString;

use fake_hv::{BrokerAddress, ServiceApis};

use super::LiveError;
use crate::{
    Amqp, Cloud,
    load::{Apis, Http, Login, Session},
};

/// A cloud, as far as a run needs to know it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where its services are.
    pub apis: Apis,
    /// Its administrator.
    pub admin: Login,
    /// Whom the simulated hypervisors log in as; `None`: each run makes a user for them.
    pub nova_service: Option<Login>,
    /// Its broker.
    pub amqp: Amqp,
    /// A program, with its arguments, that is one process of a fleet; `None`: fleets have to fit into this one.
    pub fleet_command: Option<Vec<OsString>>,
    /// The harness's own cloud, whose processes, broker and database can be watched; `None`: somebody else's.
    pub own: Option<Cloud>,
}

impl Target {
    /// A cloud that the harness brought up.
    pub fn own(cloud: &Cloud) -> Self {
        Self {
            apis: Apis::from(cloud),
            admin: Login::from(&cloud.admin),
            nova_service: Some(Login::from(&cloud.nova_service)),
            amqp: cloud.amqp.clone(),
            fleet_command: None,
            own: Some(cloud.clone()),
        }
    }

    /// Tries what every run needs first: the administrator's password.
    ///
    /// # Errors
    /// [`LiveError::Login`] when Keystone refuses or does not answer.
    pub async fn log_in(&self, http: Http) -> Result<Session, LiveError> {
        let session = Session::new(http, self.apis.clone(), self.admin.clone());
        let refused = |error: crate::load::ApiError| LiveError::Login {
            url: self.apis.identity.clone(),
            user: self.admin.user.clone(),
            reason: error.short(),
            advice: match error.status() {
                Some(401) => "Name or password is wrong, or the user has no role in the project: see clouds.yaml",
                Some(_) => "This Keystone does not do what it should: see its log",
                None => "Nobody answers there: is the cloud up? `kagemusha status` says so of its own",
            },
        };
        session.authenticate().await.map_err(refused)?;
        Ok(session)
    }

    /// The broker as the fleet takes it.
    pub fn broker(&self) -> BrokerAddress {
        BrokerAddress {
            nodes: self.amqp.nodes.clone(),
            user: self.amqp.user.clone(),
            password: self.amqp.password.clone(),
            vhost: self.amqp.vhost.clone(),
        }
    }

    /// The services as the fleet takes them.
    pub fn service_apis(&self, login: &Login) -> ServiceApis {
        let without = |url: &str, version: &str| url.strip_suffix(version).unwrap_or(url).to_owned();
        ServiceApis {
            identity_url: without(&self.apis.identity, "/v3"),
            placement_url: self.apis.placement.clone(),
            network_url: without(&self.apis.network, "/v2.0"),
            image_url: without(&self.apis.image, "/v2"),
            user: login.user.clone(),
            password: login.password.clone(),
            project: login.project.clone(),
            domain: login.user_domain.clone(),
        }
    }
}
