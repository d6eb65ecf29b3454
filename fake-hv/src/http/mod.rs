//! Requests of a nova-compute to Keystone, Placement and Neutron: how they look, and what their answers change.

mod identity;
mod network;
mod placement;
mod vif;

use std::time::Duration;

use hypervisor::{Fault, HttpService, Request, Resources, Response, Session, Sessions};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    ServiceApis,
    contexts::Context,
    nova::{Documents, Identity, Release},
    procedure::Token,
};

/// A request as the HTTP client sends it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpRequest {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    /// Token for `X-Auth-Token`; without one for Keystone itself.
    pub(crate) token: Option<Box<str>>,
    /// Token for `X-Service-Token`: who passes a user's token on.
    pub(crate) service_token: Option<Box<str>>,
    /// `X-OpenStack-Request-ID`: the request that this is a part of.
    pub(crate) request_id: Option<Box<str>>,
    /// `OpenStack-API-Version` of Placement.
    pub(crate) placement_version: Option<&'static str>,
    pub(crate) body: Option<Value>,
    /// `Content-Type`, where it is not that of the document.
    pub(crate) content_type: Option<String>,
}

/// An answer as the HTTP client got it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    /// `X-Subject-Token` of Keystone.
    pub(crate) subject_token: Option<Box<str>>,
    /// `Null` when it was empty or not JSON.
    pub(crate) body: Value,
}

/// Tokens and what Placement said of this host's provider.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) tokens: Sessions<Box<str>>,
    /// Aggregates of this host's provider.
    aggregates: Vec<String>,
    provider_generation: u64,
    /// Allocations of a VM that was evacuated from here, without those here.
    evacuated: Value,
}

impl Accounts {
    /// Of a hypervisor that ran before.
    pub(crate) fn known(provider_generation: u64, tokens: Sessions<Box<str>>) -> Self {
        Self { tokens, provider_generation, ..Self::default() }
    }
}

/// What a hypervisor needs to write its requests and to read their answers.
pub(crate) struct Client<'a> {
    pub(crate) apis: &'a ServiceApis,
    pub(crate) release: &'a Release,
    pub(crate) identity: &'a Identity,
    pub(crate) resources: &'a Resources,
    pub(crate) accounts: &'a mut Accounts,
    pub(crate) documents: &'a mut Documents,
    /// Of what it is a part of.
    pub(crate) context: &'a Context,
}

impl Client<'_> {
    /// A request of a procedure.
    pub(crate) fn step(
        &self,
        service: HttpService,
        (method, path, microversion): (&'static str, &str, Option<&'static str>),
        whose: Token,
        body: Option<Value>,
    ) -> HttpRequest {
        let base = match service {
            HttpService::Placement => &self.apis.placement_url,
            HttpService::Neutron => &self.apis.network_url,
            HttpService::Glance => &self.apis.image_url,
        };
        let own = match service {
            HttpService::Placement => &self.accounts.tokens.placement,
            HttpService::Neutron | HttpService::Glance => &self.accounts.tokens.network,
        };
        let (token, service_token) = match whose {
            Token::User => (self.context.user_token(), self.accounts.tokens.service_user.clone()),
            Token::Service => (own.clone(), self.accounts.tokens.service_user.clone()),
            Token::Alone => (own.clone(), None),
            Token::None => (None, None),
        };
        let url = format!("{base}{path}");
        let request_id = self.context.request_id();
        HttpRequest {
            method,
            url,
            token,
            service_token,
            request_id,
            placement_version: microversion,
            body,
            content_type: None,
        }
    }

    /// The request, or `None` when it is about a VM that this host has no record of.
    pub(crate) fn encode(&self, request: &Request) -> Option<HttpRequest> {
        match request {
            Request::IdentityVersion => Some(identity::version(self.apis)),
            Request::Token(_) => Some(identity::authenticate(self.apis)),
            Request::Placement(request) => Some(self.encode_placement(request)),
            Request::Network(request) => self.encode_network(request),
            Request::Conductor(_) | Request::Agent(_) | Request::Step(_) => None,
        }
    }

    /// Reads the answer and takes over what it says.
    pub(crate) fn decode(&mut self, request: &Request, answer: HttpAnswer) -> Result<Response, Fault> {
        match request {
            Request::IdentityVersion => successful(answer.status).map(|()| Response::Done),
            Request::Token(session) => self.decode_token(*session, answer),
            Request::Placement(request) => self.decode_placement(request, &answer),
            Request::Network(request) => self.decode_network(request, answer),
            Request::Conductor(_) | Request::Agent(_) | Request::Step(_) => Ok(Response::Done),
        }
    }

    fn decode_token(&mut self, session: Session, answer: HttpAnswer) -> Result<Response, Fault> {
        let token = answer.subject_token.ok_or(Fault::Http(answer.status))?;
        *self.accounts.tokens.of(session) = Some(token);
        // Without, it is good until somebody says that it is not.
        Ok(lifetime(&answer.body).map_or(Response::Done, |lasts| Response::Token { lasts }))
    }
}

/// How long the token lasts that Keystone describes, by Keystone's clock.
fn lifetime(body: &Value) -> Option<Duration> {
    let at = |what: &str| OffsetDateTime::parse(body["token"][what].as_str()?, &Rfc3339).ok();
    Duration::try_from(at("expires_at")? - at("issued_at")?).ok()
}

/// `Ok` for a status that means success.
fn successful(status: u16) -> Result<(), Fault> {
    if (200..300).contains(&status) { Ok(()) } else { Err(Fault::Http(status)) }
}
