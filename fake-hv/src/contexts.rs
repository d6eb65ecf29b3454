//! Request contexts: what each message says of the request that it is a part of.

use hypervisor::Origin;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{timestamp, values::list};

/// The context of one thing that a hypervisor is doing.
#[derive(Debug)]
pub(crate) enum Context {
    /// Of an administrator without user, whose request the service made by itself: written out anew for each message, because every
    /// hypervisor keeps one all its life, and written out it is larger than most of what else it keeps.
    OfService { request_id: Uuid, since: Box<str> },
    /// `_context_*` as it came with an RPC.
    Given(Value),
}

impl Context {
    fn of_service() -> Self {
        Self::OfService { request_id: Uuid::new_v4(), since: timestamp::now_micros().into_boxed_str() }
    }

    /// `_context_*`.
    pub(crate) fn write(&self) -> Value {
        match self {
            Self::OfService { request_id, since } => json!({
                "_context_user": null, "_context_project_id": null, "_context_system_scope": null,
                "_context_project": null, "_context_domain": null, "_context_user_domain": null,
                "_context_project_domain": null, "_context_is_admin": true, "_context_read_only": false,
                "_context_show_deleted": false, "_context_auth_token": null,
                "_context_request_id": written(*request_id), "_context_global_request_id": null,
                "_context_resource_uuid": null, "_context_roles": [], "_context_user_identity": "- - - - -",
                "_context_is_admin_project": true, "_context_user_id": null, "_context_read_deleted": "no",
                "_context_remote_address": null, "_context_timestamp": since, "_context_quota_class": null,
                "_context_user_name": null, "_context_service_catalog": [], "_context_project_name": null,
            }),
            Self::Given(context) => context.clone(),
        }
    }

    /// The id that goes with what is asked on behalf of the request: that of the first service that had it, if it is told.
    pub(crate) fn request_id(&self) -> Option<Box<str>> {
        match self {
            Self::OfService { request_id, .. } => Some(written(*request_id).into()),
            Self::Given(context) => {
                let id = |name: &str| context[name].as_str();
                id("_context_global_request_id").or_else(|| id("_context_request_id")).map(Into::into)
            }
        }
    }

    /// The token of the user who asked, if there is one.
    pub(crate) fn user_token(&self) -> Option<Box<str>> {
        match self {
            Self::OfService { .. } => None,
            Self::Given(context) => context["_context_auth_token"].as_str().map(Into::into),
        }
    }

    /// The roles of whoever asked.
    pub(crate) fn roles(&self) -> &[Value] {
        match self {
            Self::OfService { .. } => &[],
            Self::Given(context) => list(&context["_context_roles"]),
        }
    }
}

fn written(request_id: Uuid) -> String {
    format!("req-{request_id}")
}

/// The contexts of everything that a hypervisor is doing: one or two things most of its life.
#[derive(Debug, Default)]
pub(crate) struct Contexts(Vec<(Origin, Context)>);

impl Contexts {
    /// The context that came with an RPC.
    pub(crate) fn keep(&mut self, origin: Origin, context: Value) {
        self.forget(origin);
        self.0.push((origin, Context::Given(context)));
    }

    /// The context of everything that is said for this reason. What the service does by itself gets one when it is first spoken of.
    pub(crate) fn get(&mut self, origin: Origin) -> &Context {
        let at = self.0.iter().position(|(known, _)| *known == origin).unwrap_or_else(|| {
            self.0.push((origin, Context::of_service()));
            self.0.len() - 1
        });
        &self.0[at].1
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing more will be said for this reason.
    pub(crate) fn forget(&mut self, origin: Origin) {
        self.0.retain(|(known, _)| *known != origin);
    }
}
