//! Users, roles and endpoints: what Keystone has to know before the services trust each other.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    Credentials, UpError,
    config::{REGION, Settings, fingerprint},
    error::innermost,
};

/// The project of the services' own users.
pub(crate) const SERVICE_PROJECT: &str = "service";

/// Name of each service in the catalogue, its type, and the path of its endpoint.
const CATALOGUE: [(&str, &str, &str); 4] =
    [("placement", "placement", ""), ("glance", "image", ""), ("neutron", "network", ""), ("nova", "compute", "/v2.1")];

/// Keystone's options of how passwords are hashed begin so.
const HASHING: [&str; 3] = ["identity.password_hash_", "identity.scrypt_", "identity.salt_"];

/// How long a request may take: the first one of a uWSGI worker waits until its application is loaded.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Requests to the cloud's APIs as its administrator. The token is fetched when first needed, and again when refused.
pub(crate) struct Session {
    http: Client,
    /// Base URL by service.
    urls: BTreeMap<&'static str, String>,
    admin: Credentials,
    token: Mutex<Option<String>>,
}

impl Session {
    pub(crate) fn new(settings: &Settings<'_>) -> Self {
        let http = Client::builder().no_proxy().timeout(ANSWER_WITHIN).redirect(reqwest::redirect::Policy::none());
        Self {
            http: http.build().expect("a client without TLS and proxies always builds"),
            urls: crate::WSGI_SERVICES.iter().map(|&service| (service, settings.url(service))).collect(),
            admin: admin(settings),
            token: Mutex::default(),
        }
    }

    pub(crate) fn http(&self) -> &Client {
        &self.http
    }

    /// `GET` of a service's API.
    pub(crate) async fn get(&self, service: &str, path: &str) -> Result<Value, UpError> {
        self.request(Method::GET, service, path, None).await
    }

    /// `DELETE` of a service's API.
    pub(crate) async fn delete(&self, service: &str, path: &str) -> Result<(), UpError> {
        self.request(Method::DELETE, service, path, None).await.map(drop)
    }

    async fn request(&self, method: Method, service: &str, path: &str, body: Option<&Value>) -> Result<Value, UpError> {
        let url = format!("{}{path}", self.urls[service]);
        let failed = |answer: String| UpError::Api { request: format!("{method} {url}"), answer };
        for attempt in 0..2 {
            let token = self.token().await?;
            let mut request = self.http.request(method.clone(), &url).header("X-Auth-Token", token);
            if service == "nova" {
                // The first one that tells whether a compute service was forced down.
                request = request.header("OpenStack-API-Version", "compute 2.11");
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.map_err(|error| failed(innermost(&error)))?;
            let status = response.status();
            if status == reqwest::StatusCode::UNAUTHORIZED && attempt == 0 {
                *self.token.lock().await = None;
                continue;
            }
            let text = response.text().await.map_err(|error| failed(innermost(&error)))?;
            return match status.is_success() {
                true => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
                false => Err(failed(format!("{status}: {text}"))),
            };
        }
        Err(failed("401 Unauthorized, with a new token too".to_owned()))
    }

    async fn token(&self) -> Result<String, UpError> {
        let mut held = self.token.lock().await;
        if let Some(token) = &*held {
            return Ok(token.clone());
        }
        let url = format!("{}/v3/auth/tokens", self.urls["keystone"]);
        let failed = |answer: String| UpError::Api { request: format!("POST {url}"), answer };
        let response = self.http.post(&url).json(&login(&self.admin)).send().await;
        let response = response.map_err(|error| failed(innermost(&error)))?;
        let status = response.status();
        let token = response.headers().get("X-Subject-Token").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let token = token.ok_or_else(|| failed(format!("{status}, and no token")))?;
        *held = Some(token.clone());
        Ok(token)
    }

    /// The id of the object of this name, which is made when it is not there.
    async fn ensure(&self, kind: &str, name: &str, object: Value) -> Result<String, UpError> {
        let plural = format!("{kind}s");
        let found = self.get("keystone", &format!("/v3/{plural}?name={name}")).await?;
        if let Some(id) = found[&plural][0]["id"].as_str() {
            return Ok(id.to_owned());
        }
        let made =
            self.request(Method::POST, "keystone", &format!("/v3/{plural}"), Some(&json!({ kind: object }))).await?;
        let id = made[kind]["id"].as_str().unwrap_or_default();
        Ok(id.to_owned())
    }
}

/// The administrator of a cloud.
pub(crate) fn admin(settings: &Settings<'_>) -> Credentials {
    let password = settings.secrets.get("keystone-admin").clone();
    Credentials { user: "admin".to_owned(), password, project: "admin".to_owned() }
}

/// The user that Nova's services log in as.
pub(crate) fn nova_service(settings: &Settings<'_>) -> Credentials {
    let password = settings.secrets.get("user-nova").clone();
    Credentials { user: "nova".to_owned(), password, project: SERVICE_PROJECT.to_owned() }
}

fn login(user: &Credentials) -> Value {
    let domain = json!({ "name": "Default" });
    json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": {
            "name": user.user, "domain": domain, "password": user.password.reveal(),
        } } },
        "scope": { "project": { "name": user.project, "domain": domain } },
    } })
}

/// Whether the services can log in already.
pub(crate) fn is_set_up(settings: &Settings<'_>) -> bool {
    settings.state.is_done("identity", &form(settings))
}

fn form(settings: &Settings<'_>) -> String {
    let urls: String = CATALOGUE.iter().map(|(service, ..)| settings.url(service)).collect();
    fingerprint(&[urls.as_bytes()])
}

/// Makes the services' project, users and roles, and the catalogue. What is there already is left as it is.
pub(crate) async fn set_up(settings: &Settings<'_>, session: &Session) -> Result<(), UpError> {
    if is_set_up(settings) {
        return Ok(());
    }
    let project = json!({ "name": SERVICE_PROJECT, "domain_id": "default" });
    let project = session.ensure("project", SERVICE_PROJECT, project).await?;
    let mut roles = Vec::new();
    for role in ["admin", "service"] {
        roles.push(session.ensure("role", role, json!({ "name": role })).await?);
    }
    for (name, kind, path) in CATALOGUE {
        let password = settings.secrets.get(&format!("user-{name}")).reveal();
        let user = json!({ "name": name, "domain_id": "default", "password": password });
        let user = session.ensure("user", name, user).await?;
        for role in &roles {
            let path = format!("/v3/projects/{project}/users/{user}/roles/{role}");
            session.request(Method::PUT, "keystone", &path, None).await?;
        }
        let service = session.ensure("service", name, json!({ "name": name, "type": kind })).await?;
        endpoints(session, &service, &format!("{}{path}", settings.url(name))).await?;
    }
    settings.state.mark_done("identity", &form(settings))
}

/// Whether the passwords of the administrator and of the services are hashed as they are to be now.
pub(crate) fn is_hashed(settings: &Settings<'_>) -> bool {
    settings.state.is_done("password-hashes", &hashing(settings))
}

/// Keystone hashes a password when it is set: so each is set again, to what it is.
pub(crate) async fn hash_passwords(settings: &Settings<'_>, session: &Session) -> Result<(), UpError> {
    let services = CATALOGUE.iter().map(|(name, ..)| (*name, settings.secrets.get(&format!("user-{name}"))));
    let admin = admin(settings);
    for (name, password) in services.chain([(&*admin.user, &admin.password)]) {
        let found = session.get("keystone", &format!("/v3/users?name={name}")).await?;
        let path = format!("/v3/users/{}", found["users"][0]["id"].as_str().unwrap_or_default());
        let user = json!({ "user": { "password": password.reveal() } });
        session.request(Method::PATCH, "keystone", &path, Some(&user)).await?;
    }
    note_hashing(settings)
}

/// All were just hashed as they are to be.
pub(crate) fn note_hashing(settings: &Settings<'_>) -> Result<(), UpError> {
    settings.state.mark_done("password-hashes", &hashing(settings))
}

/// How Keystone hashes passwords, as far as it is set.
fn hashing(settings: &Settings<'_>) -> String {
    let options = settings.spec.tuning.get("keystone").into_iter().flatten();
    let hashing = options.filter(|(option, _)| HASHING.iter().any(|beginning| option.starts_with(beginning)));
    hashing.map(|(option, value)| format!("{option}={value}\n")).collect()
}

async fn endpoints(session: &Session, service: &str, url: &str) -> Result<(), UpError> {
    let found = session.get("keystone", &format!("/v3/endpoints?service_id={service}")).await?;
    for interface in ["public", "internal", "admin"] {
        let there = found["endpoints"].as_array().is_some_and(|all| all.iter().any(|e| e["interface"] == interface));
        if !there {
            let endpoint = json!({ "service_id": service, "interface": interface, "url": url, "region_id": REGION });
            session.request(Method::POST, "keystone", "/v3/endpoints", Some(&json!({ "endpoint": endpoint }))).await?;
        }
    }
    Ok(())
}
