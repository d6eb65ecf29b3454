//! A recording relay in front of an HTTP service: one connection behind for each in front, requests passed as they come.

use std::{convert::Infallible, sync::Arc};

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Bytes, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
};

use super::Notes;
use crate::trace::{Direction, What};

/// Headers that say something of the client; what differs from one HTTP library to the next is left out.
const HEADERS: [&str; 5] =
    ["x-openstack-request-id", "openstack-api-version", "x-auth-token", "x-service-token", "content-type"];
/// Where a service was reached: put right in what it says of itself, such as the links of a version document.
type Upstream = Arc<Mutex<Option<client::conn::http1::SendRequest<Full<Bytes>>>>>;

/// Which requests to Neutron wait at their relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// None.
    Nothing,
    /// Those that bind a port, on their way back: it is bound, Neutron has told of it, and only the hypervisor does not know.
    Bindings,
    /// All that change something, on their way there.
    Changes,
}

impl Hold {
    fn holds_request(self, method: &Method) -> bool {
        self == Self::Changes && method != Method::GET
    }

    fn holds_answer(self, method: &Method) -> bool {
        self == Self::Bindings && method == Method::PUT
    }
}

/// The service behind a relay.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    /// The port of the relay.
    pub(super) relay: u16,
}

/// Takes connections until its task is dropped.
pub(super) async fn relay(listener: TcpListener, service: Service, notes: Notes, gate: watch::Receiver<Hold>) {
    let service = Arc::new(service);
    while let Ok((client, _)) = listener.accept().await {
        let (service, notes, gate) = (Arc::clone(&service), notes.connection(), gate.clone());
        tokio::spawn(async move {
            let upstream = Upstream::default();
            let answer = service_fn(|request| {
                let (service, notes, upstream) = (Arc::clone(&service), notes.clone(), Arc::clone(&upstream));
                let mut gate = gate.clone();
                async move {
                    if service.name != "neutron" {
                        return Ok::<_, Infallible>(exchange(request, &service, &notes, &upstream).await);
                    }
                    let method = request.method().clone();
                    // Without the laboratory nobody holds anything any more.
                    drop(gate.wait_for(|hold| !hold.holds_request(&method)).await);
                    let response = exchange(request, &service, &notes, &upstream).await;
                    drop(gate.wait_for(|hold| !hold.holds_answer(&method)).await);
                    Ok(response)
                }
            });
            // The client sees a broken connection itself.
            let _ended = server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), answer).await;
        });
    }
}

async fn exchange(
    request: Request<hyper::body::Incoming>,
    service: &Service,
    notes: &Notes,
    upstream: &Upstream,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut told = json!({
        "service": service.name, "method": parts.method.as_str(), "path": parts.uri.path(),
        "query": parts.uri.query().unwrap_or_default(), "headers": headers(&parts.headers),
        "body": serde_json::from_slice::<Value>(&body).unwrap_or_default(), "bytes": body.len(),
    });
    let sent_us = notes.now_us();
    let answer = forward(Request::from_parts(parts, Full::new(body)), service, upstream).await;
    let response = match answer {
        Ok((parts, body)) => {
            told["status"] = parts.status.as_u16().into();
            told["answer"] = serde_json::from_slice(&body).unwrap_or_default();
            Response::from_parts(parts, Full::new(body))
        }
        Err(reason) => {
            told["error"] = reason.clone().into();
            let mut response = Response::new(Full::new(Bytes::from(reason)));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    };
    notes.note_at(sent_us, Direction::Sent, What::http(told));
    response
}

type Answer = (hyper::http::response::Parts, Bytes);

async fn forward(request: Request<Full<Bytes>>, service: &Service, upstream: &Upstream) -> Result<Answer, String> {
    let mut upstream = upstream.lock().await;
    if upstream.as_ref().is_none_or(|sender| sender.is_closed()) {
        *upstream = None;
    }
    let mut sender = match upstream.take() {
        Some(sender) => sender,
        None => connect(service).await?,
    };
    sender.ready().await.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    *upstream = Some(sender);
    // Versions and locations name the port of the service: whoever follows them has to come back this way.
    let body = readdress(&body, service);
    parts.headers.remove(hyper::header::TRANSFER_ENCODING);
    if parts.headers.contains_key(hyper::header::CONTENT_LENGTH) {
        parts.headers.insert(hyper::header::CONTENT_LENGTH, body.len().into());
    }
    Ok((parts, body))
}

async fn connect(service: &Service) -> Result<client::conn::http1::SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect((service.host.as_str(), service.port)).await.map_err(|error| error.to_string())?;
    let (sender, connection) =
        client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        let _closed = connection.await;
    });
    Ok(sender)
}

fn readdress(body: &Bytes, service: &Service) -> Bytes {
    let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
    let here = format!("{}:{}", service.host, service.port);
    if !text.contains(&here) {
        return body.clone();
    }
    Bytes::from(text.replace(&here, &format!("{}:{}", service.host, service.relay)))
}

fn headers(headers: &hyper::HeaderMap) -> Value {
    let mut found = Map::new();
    for name in HEADERS {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
            found.insert(name.to_owned(), value.into());
        }
    }
    Value::Object(found)
}
