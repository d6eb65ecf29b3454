//! How a hypervisor asks: calls with their timeout, HTTP with its session.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    ConductorCall, Fault, Instance, NetworkRequest, PlacementRequest, Request, Response, Session, executor::Host,
    lock::LockName,
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

    /// A request with a session that is made at the first one, and made anew when its token has expired.
    pub(crate) async fn in_session(&self, session: Session, request: Request) -> Result<Response, Fault> {
        self.open_session(session).await?;
        let timeout = self.timeout_of(session);
        let answer = self.request(request.clone(), timeout).await;
        if answer != Err(Fault::Http(401)) {
            return answer;
        }
        self.request(Request::Token(session), None).await?;
        if session == Session::Network {
            self.request(Request::Token(Session::ServiceUser), None).await?;
        }
        self.request(request, timeout).await
    }

    fn timeout_of(&self, session: Session) -> Option<Duration> {
        let state = self.peek();
        match session {
            Session::Placement => state.config.options.placement_timeout,
            Session::Network | Session::ServiceUser => state.config.options.neutron_timeout,
        }
    }

    /// Logs in, unless that was done before. Threads that need the same session wait for the one that is at it.
    pub(crate) async fn open_session(&self, session: Session) -> Result<(), Fault> {
        let open = match session {
            Session::Placement => self.peek().placement_session,
            Session::ServiceUser => self.peek().service_session,
            Session::Network => self.peek().network_session,
        };
        if open {
            return Ok(());
        }
        let _alone = self.acquire(LockName::Login).await;
        match session {
            Session::Placement if !self.peek().placement_session => {
                self.request(Request::IdentityVersion, None).await?;
                self.request(Request::Token(session), None).await?;
                self.request(Request::Placement(PlacementRequest::Discover), self.timeout_of(session)).await?;
                self.state().placement_session = true;
            }
            Session::ServiceUser | Session::Network if !self.peek().service_session => {
                // Both are found out of with one look at Keystone.
                self.request(Request::IdentityVersion, None).await?;
                self.request(Request::Token(Session::ServiceUser), None).await?;
                self.state().service_session = true;
            }
            _ => {}
        }
        if session == Session::Network && !self.peek().network_session {
            self.request(Request::Token(session), None).await?;
            self.state().network_session = true;
        }
        Ok(())
    }
}
