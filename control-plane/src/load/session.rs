//! A user of the cloud: one token, kept and renewed, and every request with it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Answer, ApiError, Apis, Call, Http, Login, Service};

/// A logged-in user. Cheap to clone; clones share the token.
#[derive(Debug, Clone)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    apis: Apis,
    login: Login,
    token: Mutex<Option<Arc<str>>>,
}

impl Session {
    /// Nothing is sent yet; the first request asks for a token.
    pub fn new(http: Http, apis: Apis, login: Login) -> Self {
        Self(Arc::new(Inner { http, apis, login, token: Mutex::default() }))
    }

    /// Who this is.
    pub fn login(&self) -> &Login {
        &self.0.login
    }

    /// Where the cloud is.
    pub fn apis(&self) -> &Apis {
        &self.0.apis
    }

    /// The same connections, for another user.
    pub fn as_user(&self, login: Login) -> Self {
        Self::new(self.0.http.clone(), self.0.apis.clone(), login)
    }

    /// Asks Keystone for a token, whether there is one or not, and keeps it.
    ///
    /// # Errors
    /// When Keystone refuses or does not answer.
    pub async fn authenticate(&self) -> Result<Answer, ApiError> {
        let answer = self.request_token().await?;
        *self.0.token.lock().await = Some(token_of(&answer)?);
        Ok(answer)
    }

    /// Sends a request with the user's token; a token that has expired is renewed, once.
    ///
    /// # Errors
    /// When there is no answer, or one that means failure.
    pub async fn call(&self, call: &Call) -> Result<Answer, ApiError> {
        let token = self.token(None).await?;
        match self.0.http.send(self.base(call.service), call, Some(&token)).await {
            Err(error) if error.status() == Some(401) => {
                let token = self.token(Some(&token)).await?;
                self.0.http.send(self.base(call.service), call, Some(&token)).await
            }
            result => result,
        }
    }

    /// Uploads raw bytes with the user's token.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn upload(&self, call: &Call, bytes: Vec<u8>) -> Result<Answer, ApiError> {
        let token = self.token(None).await?;
        self.0.http.upload(self.base(call.service), call, &token, bytes).await
    }

    /// A `DELETE` that counts what is gone already as success.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn delete(&self, what: &'static str, service: Service, path: String) -> Result<(), ApiError> {
        match self.call(&Call::delete(what, service, path)).await {
            Err(error) if error.status() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// All elements of a list, following the links to its next pages (`servers_links`, or `next` as Glance has it).
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn list(
        &self,
        what: &'static str,
        service: Service,
        path: &str,
        key: &str,
    ) -> Result<Vec<Value>, ApiError> {
        let mut elements = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let answer = self.call(&Call::get(what, service, path)).await?;
            elements.append(&mut answer.list(key)?);
            next = next_page(&answer.json()?, key, self.base(service));
        }
        Ok(elements)
    }

    /// Path of the page of Nova's list after this one, if there is one.
    pub(crate) fn next_page(&self, answer: &Answer, key: &str) -> Result<Option<String>, ApiError> {
        Ok(next_page(&answer.json()?, key, self.base(Service::Compute)))
    }

    fn base(&self, service: Service) -> &str {
        let apis = &self.0.apis;
        match service {
            Service::Identity => &apis.identity,
            Service::Compute => &apis.compute,
            Service::Network => &apis.network,
            Service::Image => &apis.image,
            Service::Placement => &apis.placement,
        }
    }

    /// The token, unless it is the one that was just refused: then a new one. Those who wait for it get the same.
    async fn token(&self, refused: Option<&Arc<str>>) -> Result<Arc<str>, ApiError> {
        let mut kept = self.0.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Some(*token) != refused) {
            return Ok(Arc::clone(token));
        }
        let token = token_of(&self.request_token().await?)?;
        *kept = Some(Arc::clone(&token));
        Ok(token)
    }

    async fn request_token(&self) -> Result<Answer, ApiError> {
        let call = Call::post("token", Service::Identity, "/auth/tokens", password_request(&self.0.login));
        self.0.http.send(&self.0.apis.identity, &call, None).await
    }
}

fn token_of(answer: &Answer) -> Result<Arc<str>, ApiError> {
    answer.header("X-Subject-Token").map(Arc::from).ok_or_else(|| answer.without("the header X-Subject-Token"))
}

fn password_request(login: &Login) -> Value {
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": login.user,
            "domain": {"name": login.user_domain},
            "password": login.password.reveal(),
        }}},
        "scope": {"project": {"name": login.project, "domain": {"name": login.project_domain}}},
    }})
}

/// Path and query of the next page, relative to the service's URL.
fn next_page(document: &Value, key: &str, base: &str) -> Option<String> {
    let links = document.get(format!("{key}_links")).and_then(Value::as_array);
    let next = links.into_iter().flatten().find(|link| link["rel"] == "next").and_then(|link| link["href"].as_str());
    let next = next.or_else(|| document.get("next").and_then(Value::as_str))?;
    // Behind a proxy the link's host may not be ours, and Glance's has none: what follows the version is what counts.
    let version = base.rsplit('/').next().filter(|last| last.starts_with('v')).map(|last| format!("/{last}/"))?;
    let (_, path) = next.split_once(&version)?;
    Some(format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn a_token_is_asked_for_one_project() {
        let request = password_request(&Login::in_default_domain("ada", &Secret::new("pw"), "engine"));
        assert_eq!(request["auth"]["scope"]["project"]["name"], "engine");
        assert_eq!(request["auth"]["identity"]["password"]["user"]["password"], "pw");
    }

    #[test]
    fn pages_follow_one_another_whatever_the_host_of_the_link() {
        let nova = json!({"servers": [], "servers_links": [
            {"rel": "next", "href": "http://controller:8774/v2.1/servers?limit=2&marker=7"}]});
        let base = "http://127.0.0.1:21004/v2.1";
        assert_eq!(next_page(&nova, "servers", base).as_deref(), Some("/servers?limit=2&marker=7"));
        let glance = json!({"images": [], "next": "/v2/images?marker=7"});
        assert_eq!(next_page(&glance, "images", "http://127.0.0.1:21002/v2").as_deref(), Some("/images?marker=7"));
        assert_eq!(next_page(&json!({"servers": []}), "servers", base), None);
        assert_eq!(next_page(&json!({"projects": [], "links": {"next": null}}), "projects", base), None);
    }
}
