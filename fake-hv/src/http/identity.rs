//! Tokens (`keystoneauth1/identity/v3`).

use serde_json::json;

use super::HttpRequest;
use crate::ServiceApis;

/// `GET /v3`.
pub(crate) fn version(apis: &ServiceApis) -> HttpRequest {
    HttpRequest {
        method: "GET",
        url: format!("{}/v3", apis.identity_url),
        token: None,
        service_token: None,
        request_id: None,
        placement_version: None,
        body: None,
        content_type: None,
    }
}

/// `POST /v3/auth/tokens` with the service user's password.
pub(crate) fn authenticate(apis: &ServiceApis) -> HttpRequest {
    let domain = json!({"name": apis.domain});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": apis.user, "domain": domain, "password": apis.password.reveal(),
        }}},
        "scope": {"project": {"name": apis.project, "domain": domain}},
    }});
    HttpRequest {
        method: "POST",
        url: format!("{}/v3/auth/tokens", apis.identity_url),
        token: None,
        service_token: None,
        request_id: None,
        placement_version: None,
        body: Some(body),
        content_type: None,
    }
}
