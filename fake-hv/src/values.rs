//! Reading JSON that others wrote: what is not as it should be is as if it were not there. And what a value leaves behind.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

/// The items of a list; none of what is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A UUID in a text.
pub(crate) fn uuid(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

/// The UUIDs in a list.
pub(crate) fn uuids(value: &Value) -> Vec<Uuid> {
    list(value).iter().filter_map(uuid).collect()
}

/// An emptied map keeps room for eleven entries: with one in each of thousands of hypervisors, megabytes.
pub(crate) fn free_emptied<K, V>(map: &mut BTreeMap<K, V>) {
    if map.is_empty() {
        *map = BTreeMap::new();
    }
}
