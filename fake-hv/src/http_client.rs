//! The HTTP side of the wires.

use std::time::Duration;

use crate::http::{HttpAnswer, HttpRequest};

/// Sends a request; `None`: no connection, or none that lasted until the answer.
pub(crate) async fn send(client: &reqwest::Client, request: HttpRequest) -> Option<HttpAnswer> {
    let method = request.method.parse().expect("the methods in use are valid");
    let mut builder = client.request(method, request.url).header("Accept", "application/json");
    if let Some(token) = &request.token {
        builder = builder.header("X-Auth-Token", token.as_ref());
    }
    if let Some(token) = &request.service_token {
        builder = builder.header("X-Service-Token", token.as_ref());
    }
    if let Some(id) = &request.request_id {
        builder = builder.header("X-OpenStack-Request-ID", id.as_ref());
    }
    if let Some(version) = request.placement_version {
        builder = builder.header("OpenStack-API-Version", format!("placement {version}"));
    }
    if let Some(content_type) = &request.content_type {
        builder = builder.header("Content-Type", content_type);
    }
    if let Some(body) = &request.body {
        builder = builder.json(body);
    }
    let response = builder.send().await.ok()?;
    let status = response.status().as_u16();
    let subject_token = response.headers().get("X-Subject-Token").and_then(|value| value.to_str().ok()).map(Into::into);
    let bytes = response.bytes().await.ok()?;
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Some(HttpAnswer { status, subject_token, body })
}

/// A client for a whole fleet. Connections are kept as a nova-compute's session keeps them.
pub(crate) fn new() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(30));
    builder.user_agent("nova-compute keystoneauth1").build().expect("a client without TLS needs nothing from outside")
}
