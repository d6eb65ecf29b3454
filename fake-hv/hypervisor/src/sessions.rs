//! Sessions with the HTTP services: who has logged in, and until when that is good.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Fault, PlacementRequest, Request, Response, Session, Time, executor::Host, lock::LockName};

/// `MIN_TOKEN_LIFE_SECONDS` of keystoneauth: a token that ends sooner is not used any more.
const LEAST_LIFE: Duration = Duration::from_secs(120);

/// Something of each session; `None`: it was never opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions<T> {
    /// Of [`Session::Placement`].
    pub placement: Option<T>,
    /// Of [`Session::Network`].
    pub network: Option<T>,
    /// Of [`Session::ServiceUser`].
    pub service_user: Option<T>,
}

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Self { placement: None, network: None, service_user: None }
    }
}

impl<T> Sessions<T> {
    /// That of one session.
    pub fn of(&mut self, session: Session) -> &mut Option<T> {
        match session {
            Session::Placement => &mut self.placement,
            Session::Network => &mut self.network,
            Session::ServiceUser => &mut self.service_user,
        }
    }

    /// The same sessions with something else.
    pub fn map<U>(self, change: impl Fn(T) -> U) -> Sessions<U> {
        Sessions {
            placement: self.placement.map(&change),
            network: self.network.map(&change),
            service_user: self.service_user.map(&change),
        }
    }

    /// What both have, put together.
    pub fn zip_with<U, V>(self, other: Sessions<U>, join: impl Fn(T, U) -> V) -> Sessions<V> {
        let both = |one: Option<T>, other: Option<U>| one.zip(other).map(|(one, other)| join(one, other));
        Sessions {
            placement: both(self.placement, other.placement),
            network: both(self.network, other.network),
            service_user: both(self.service_user, other.service_user),
        }
    }
}

impl Host {
    /// A request with a session that is opened at the first one, and logged in to anew when its token has expired.
    pub(crate) async fn in_session(&self, session: Session, request: Request) -> Result<Response, Fault> {
        self.open_session(session).await?;
        let timeout = self.timeout_of(session);
        let answer = self.request(request.clone(), timeout).await;
        if answer != Err(Fault::Http(401)) {
            return answer;
        }
        // Whoever has revoked the one token may have revoked the other.
        self.log_in(session).await?;
        if session == Session::Network {
            self.log_in(Session::ServiceUser).await?;
        }
        self.request(request, timeout).await
    }

    /// Logs in where there is no token, or none that lasts. Threads that need the same session wait for the one that is at it.
    pub(crate) async fn open_session(&self, session: Session) -> Result<(), Fault> {
        // A request to Neutron carries both.
        let needed: &[Session] = match session {
            Session::Placement => &[Session::Placement],
            Session::ServiceUser => &[Session::ServiceUser],
            Session::Network => &[Session::ServiceUser, Session::Network],
        };
        if needed.iter().all(|session| self.is_open(*session)) {
            return Ok(());
        }
        let _alone = self.acquire(LockName::Login).await;
        for session in needed.iter().filter(|session| !self.is_open(**session)) {
            self.log_in(*session).await?;
        }
        Ok(())
    }

    fn is_open(&self, session: Session) -> bool {
        let now = self.now();
        self.state().sessions.of(session).is_some_and(|until| now < until)
    }

    async fn log_in(&self, session: Session) -> Result<(), Fault> {
        let is_new = self.state().sessions.of(session).is_none();
        // Where Keystone is and what it speaks is asked once; for both sessions with Neutron at the same time.
        if is_new && session != Session::Network {
            self.request(Request::IdentityVersion, None).await?;
        }
        let until = self.token(session).await?;
        if is_new && session == Session::Placement {
            self.request(Request::Placement(PlacementRequest::Discover), self.timeout_of(session)).await?;
        }
        *self.state().sessions.of(session) = Some(until);
        Ok(())
    }

    /// Gets a token, and says until when it is used.
    async fn token(&self, session: Session) -> Result<Time, Fault> {
        Ok(match self.request(Request::Token(session), None).await? {
            Response::Token { lasts } => self.now() + lasts.saturating_sub(LEAST_LIFE),
            _ => Time::MAX,
        })
    }
}
