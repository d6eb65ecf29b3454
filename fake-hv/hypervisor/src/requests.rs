//! How a hypervisor asks: what with which timeout, and in which session.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    ConductorCall, Fault, Instance, NetworkRequest, PlacementRequest, Request, Response, Session, executor::Host,
};

impl Response {
    /// Whether it exists; an answer of another kind counts as "no".
    pub(crate) fn found(&self) -> bool {
        matches!(self, Self::Found(true))
    }

    pub(crate) fn instances(self) -> Vec<Instance> {
        match self {
            Self::Instances(instances) => instances,
            _ => Vec::new(),
        }
    }

    pub(crate) fn uuids(self) -> Vec<Uuid> {
        match self {
            Self::Uuids(uuids) => uuids,
            _ => Vec::new(),
        }
    }

    pub(crate) fn consumers(self) -> Vec<Uuid> {
        match self {
            Self::Consumers(consumers) => consumers,
            _ => Vec::new(),
        }
    }
}

impl Host {
    /// A call to the conductor, given up after `rpc_response_timeout`.
    pub(crate) async fn conductor(&self, call: ConductorCall) -> Result<Response, Fault> {
        let timeout = self.peek().config.options.rpc_response_timeout;
        if let ConductorCall::SaveInstance(instance, state) = &call {
            self.state().enter(*instance, *state);
        }
        self.request(Request::Conductor(call), Some(timeout)).await
    }

    /// A request to Placement.
    pub(crate) async fn placement(&self, request: PlacementRequest) -> Result<Response, Fault> {
        self.in_session(Session::Placement, Request::Placement(request)).await
    }

    /// A request to Neutron: where Nova passes the user's token on, it needs none of its own but the one beside it.
    pub(crate) async fn network(&self, request: NetworkRequest) -> Result<Response, Fault> {
        let session = match request.passes_token_on() && self.speaks_for_a_user() {
            true => Session::ServiceUser,
            false => Session::Network,
        };
        self.in_session(session, Request::Network(request)).await
    }

    pub(crate) fn timeout_of(&self, session: Session) -> Option<Duration> {
        let state = self.peek();
        match session {
            Session::Placement => state.config.options.placement_timeout,
            Session::Network | Session::ServiceUser => state.config.options.neutron_timeout,
        }
    }
}
