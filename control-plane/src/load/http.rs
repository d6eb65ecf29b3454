//! One HTTP request to a service, and its answer.

use std::time::{Duration, Instant};

use recording::Recorder;
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

use super::{ApiError, error};
use crate::error::innermost;

/// A service of OpenStack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Keystone.
    Identity,
    /// Nova.
    Compute,
    /// Neutron.
    Network,
    /// Glance.
    Image,
    /// Placement.
    Placement,
}

impl Service {
    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "keystone",
            Self::Compute => "nova",
            Self::Network => "neutron",
            Self::Image => "glance",
            Self::Placement => "placement",
        }
    }

    /// `OpenStack-API-Version`: the newest that 2024.1 and every later release have.
    fn microversion(self) -> Option<&'static str> {
        match self {
            Self::Compute => Some("compute 2.96"),
            Self::Placement => Some("placement 1.39"),
            Self::Identity | Self::Network | Self::Image => None,
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it is for, as the latency stream `http/<service> <what>` shows it.
    pub what: &'static str,
    /// Whose it is.
    pub service: Service,
    /// HTTP method.
    pub method: Method,
    /// Path after the service's URL, with the query.
    pub path: String,
    /// JSON document.
    pub body: Option<Value>,
}

impl Call {
    /// A request without a document.
    pub fn new(what: &'static str, service: Service, method: Method, path: impl Into<String>) -> Self {
        Self { what, service, method, path: path.into(), body: None }
    }

    /// `GET`.
    pub fn get(what: &'static str, service: Service, path: impl Into<String>) -> Self {
        Self::new(what, service, Method::GET, path)
    }

    /// `DELETE`.
    pub fn delete(what: &'static str, service: Service, path: impl Into<String>) -> Self {
        Self::new(what, service, Method::DELETE, path)
    }

    /// `POST` with a document.
    pub fn post(what: &'static str, service: Service, path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(what, service, Method::POST, path) }
    }

    /// `PUT` with a document.
    pub fn put(what: &'static str, service: Service, path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(what, service, Method::PUT, path) }
    }
}

/// An answer that means success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Method and URL of the request.
    pub request: String,
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The document, as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The document.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(&self.body).map_err(|_| self.without("a JSON document"))
    }

    /// Text at a JSON pointer, such as `/server/id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn text_at(&self, pointer: &str) -> Result<String, ApiError> {
        let document = self.json()?;
        document.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| self.without(pointer))
    }

    /// The elements of the list under this key.
    ///
    /// # Errors
    /// When there is no such list.
    pub fn list(&self, key: &str) -> Result<Vec<Value>, ApiError> {
        match self.json()?.get_mut(key).map(Value::take) {
            Some(Value::Array(elements)) => Ok(elements),
            _ => Err(self.without(key)),
        }
    }

    /// The error that says what is missing in this answer.
    pub(crate) fn without(&self, expected: impl Into<String>) -> ApiError {
        ApiError::Unexpected { request: self.request.clone(), expected: expected.into() }
    }
}

/// Sends requests over kept connections, and notes how long each took. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    meter: Option<(Recorder, Instant)>,
}

/// A request that was not answered by then will not be: uWSGI's and nginx's own limits are 60 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);

impl Http {
    /// A client. With a recorder and the beginning of its time, each answer's latency is recorded.
    pub fn new(meter: Option<(Recorder, Instant)>) -> Self {
        // Loopback or the operator's own network: a proxy of the environment would only be in the way.
        let builder = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN);
        let client = builder.build().expect("a client without TLS needs nothing that could be missing");
        Self { client, meter }
    }

    /// Sends a request to the service at `base` and waits for its answer.
    ///
    /// # Errors
    /// When there is no answer, or one that means failure.
    pub async fn send(&self, base: &str, call: &Call, token: Option<&str>) -> Result<Answer, ApiError> {
        let url = format!("{base}{}", call.path);
        let mut request = self.client.request(call.method.clone(), &url);
        if let Some(token) = token {
            request = request.header("X-Auth-Token", token);
        }
        if let Some(version) = call.service.microversion() {
            request = request.header("OpenStack-API-Version", version);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        self.exchange(call, request, format!("{} {url}", call.method)).await
    }

    /// Uploads raw bytes (`PUT /images/{id}/file`).
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn upload(&self, base: &str, call: &Call, token: &str, bytes: Vec<u8>) -> Result<Answer, ApiError> {
        let url = format!("{base}{}", call.path);
        let request = self.client.request(call.method.clone(), &url).header("X-Auth-Token", token);
        let request = request.header("Content-Type", "application/octet-stream").body(bytes);
        self.exchange(call, request, format!("{} {url}", call.method)).await
    }

    async fn exchange(&self, call: &Call, request: reqwest::RequestBuilder, name: String) -> Result<Answer, ApiError> {
        let sent = Instant::now();
        let no_answer = |error: reqwest::Error| ApiError::NoAnswer { request: name.clone(), reason: reason(&error) };
        let response = request.send().await.map_err(no_answer)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(no_answer)?.to_vec();
        self.note(call, sent);
        if status.is_success() {
            return Ok(Answer { request: name, status: status.as_u16(), headers, body });
        }
        let message = match error::message_in(&body) {
            message if message.is_empty() => status.canonical_reason().unwrap_or("no message").to_owned(),
            message => message,
        };
        Err(ApiError::Status { request: name, status: status.as_u16(), message })
    }

    fn note(&self, call: &Call, sent: Instant) {
        if let Some((recorder, origin)) = &self.meter {
            let stream = format!("http/{} {}", call.service.name(), call.what);
            recorder.latency(&stream, origin.elapsed(), sent.elapsed());
        }
    }
}

/// Why there was no answer.
fn reason(error: &reqwest::Error) -> String {
    match error.is_timeout() {
        true => format!("nothing within {} s", ANSWER_WITHIN.as_secs()),
        false => innermost(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer { request: "GET /x".to_owned(), status: 200, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn what_is_missing_is_named() {
        let answer = answer(r#"{"server": {"id": "7"}, "servers": []}"#);
        assert_eq!(answer.text_at("/server/id").unwrap(), "7");
        assert_eq!(answer.text_at("/server/name").unwrap_err().to_string(), "GET /x: an answer without /server/name");
        assert!(answer.list("servers").unwrap().is_empty());
        assert_eq!(answer.list("server").unwrap_err().short(), "an answer without server");
    }

    #[tokio::test]
    async fn nobody_there_is_said_in_few_words() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let error =
            Http::new(None).send(&base, &Call::get("list", Service::Compute, "/servers"), None).await.unwrap_err();
        assert!(error.short().starts_with("no answer: ") && error.short().contains("refused"), "{error}");
    }
}
