//! Request contexts: what each message says of the request that it is a part of.

use std::collections::BTreeMap;

use hypervisor::Origin;
use serde_json::Value;
use uuid::Uuid;

use crate::timestamp;

/// The contexts of everything that a hypervisor is doing.
#[derive(Debug, Default)]
pub(crate) struct Contexts(BTreeMap<Origin, Value>);

impl Contexts {
    /// The context that came with an RPC.
    pub(crate) fn keep(&mut self, origin: Origin, context: Value) {
        self.0.insert(origin, context);
    }

    /// `_context_*` of everything that is said for this reason. What the service does by itself gets a context when it is first
    /// spoken of.
    pub(crate) fn get(&mut self, origin: Origin) -> &Value {
        self.0.entry(origin).or_insert_with(of_the_service)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing more will be said for this reason.
    pub(crate) fn forget(&mut self, origin: Origin) {
        self.0.remove(&origin);
    }
}

/// The id that goes with what is asked on behalf of a request: that of the first service that had it, if it is told.
pub(crate) fn request_id(context: &Value) -> Option<Box<str>> {
    let id = |name: &str| context[name].as_str();
    id("_context_global_request_id").or_else(|| id("_context_request_id")).map(Into::into)
}

/// The token of the user who asked, if there is one.
pub(crate) fn user_token(context: &Value) -> Option<Box<str>> {
    context["_context_auth_token"].as_str().map(Into::into)
}

/// An admin without user, with a request id.
fn of_the_service() -> Value {
    serde_json::json!({
        "_context_user": null, "_context_project_id": null, "_context_system_scope": null, "_context_project": null,
        "_context_domain": null, "_context_user_domain": null, "_context_project_domain": null,
        "_context_is_admin": true, "_context_read_only": false, "_context_show_deleted": false,
        "_context_auth_token": null, "_context_request_id": format!("req-{}", Uuid::new_v4()),
        "_context_global_request_id": null, "_context_resource_uuid": null, "_context_roles": [],
        "_context_user_identity": "- - - - -", "_context_is_admin_project": true, "_context_user_id": null,
        "_context_read_deleted": "no", "_context_remote_address": null, "_context_timestamp": timestamp::now_micros(),
        "_context_quota_class": null, "_context_user_name": null, "_context_service_catalog": [],
        "_context_project_name": null,
    })
}
