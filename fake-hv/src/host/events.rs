//! Calls that an event is the reason for: they are about the info cache that came with it.

use hypervisor::{ConductorCall, Origin};
use serde_json::Value;

use super::{Common, Host};
use crate::nova::{self, Body};

impl Host {
    /// The info cache that a call is about when an event is the reason for it.
    pub(super) fn event_cache(&self, origin: Origin, call: &ConductorCall) -> Option<&Value> {
        let caches = self.event_caches.get(&origin)?;
        match call {
            ConductorCall::RefreshInfoCache(instance) => caches.to_refresh.get(instance),
            ConductorCall::SaveInfoCache(instance) => caches.to_save.get(instance),
            _ => None,
        }
    }

    /// The message of such a call.
    pub(super) fn about_event(&self, common: &Common, origin: Origin, call: &ConductorCall) -> Option<Body> {
        let cache = self.event_cache(origin, call)?;
        match call {
            ConductorCall::SaveInfoCache(instance) => Some(nova::save(&common.release, *instance, cache)),
            _ => Some(nova::refresh(&common.release, cache)),
        }
    }
}
