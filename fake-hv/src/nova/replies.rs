//! What the conductor answered, and what it changes in the records here.

use hypervisor::{ConductorCall, Instance, LazyField, Response};
use serde_json::{Map, Value};

use super::{Documents, InstanceDocument, Rows, power_state_of, vm_state};
use crate::values::{uuid, uuids};

/// Takes over what a reply says and tells the state machine what it needs of it.
pub(crate) fn reply(
    call: &ConductorCall,
    result: Value,
    host: &str,
    rows: &mut Rows,
    documents: &mut Documents,
) -> Response {
    use ConductorCall as C;
    match call {
        C::GetService => {
            let found = object_data(&result);
            found.into_iter().for_each(|data| rows.update_service(data));
            Response::Found(found.is_some())
        }
        C::CreateService => take_updates(&result, |updates| rows.update_service(updates)),
        C::SaveService { .. } => {
            rows.beaten();
            take_updates(&result, |updates| rows.update_service(updates))
        }
        C::GetNodesByHost => {
            let node = result.pointer("/nova_object.data/objects/0").and_then(object_data);
            node.into_iter().for_each(|data| rows.update_node(data));
            Response::Found(node.is_some())
        }
        C::GetNode => {
            let found = object_data(&result);
            found.into_iter().for_each(|data| rows.update_node(data));
            Response::Found(found.is_some())
        }
        C::CreateNode => take_updates(&result, |updates| rows.update_node(updates)),
        C::SaveNode { .. } => take_updates(&result, |updates| rows.update_node(updates)),
        C::GetEvacuations => Response::Uuids(rows.keep_evacuations(objects(&result))),
        C::EndEvacuation(uuid) => {
            rows.evacuation_ended(*uuid);
            Response::Done
        }
        C::GetNodesByUuid => match objects(&result) {
            nodes if nodes.iter().any(|node| of_another(node, host)) => Response::OfAnotherHost,
            nodes => Response::Found(!nodes.is_empty()),
        },
        _ => about_instances(call, result, host, documents),
    }
}

/// Likewise, of questions about VMs.
fn about_instances(call: &ConductorCall, result: Value, host: &str, documents: &mut Documents) -> Response {
    use ConductorCall as C;
    match call {
        C::GetInstancesAtStart | C::GetPendingDeletes | C::GetInstancesWithPower => {
            Response::Instances(adopt(objects(&result), documents))
        }
        C::GetInstances | C::GetInstancesToSync | C::GetInstancesByNode => Response::Instances(instances(&result)),
        C::GetInstanceToHeal(_) if result["nova_object.data"]["host"] == host => {
            Response::Instances(adopt(std::slice::from_ref(&result), documents))
        }
        C::GetInstanceToHeal(_) => Response::Instances(Vec::new()),
        C::LoadField(_, LazyField::InfoCache) => {
            adopt(std::slice::from_ref(&result), documents);
            Response::Done
        }
        C::LoadField(uuid, field) => {
            documents.entry(*uuid).and_modify(|document| document.load(*field, &result));
            Response::Done
        }
        C::RefreshInstance(uuid) => documents.get_mut(uuid).map_or(Response::Done, |document| {
            take_updates(&result, |updates| document.update(updates));
            refreshed(&document.object["nova_object.data"], host)
        }),
        C::SaveInstance(uuid, _) | C::DestroyInstance(uuid) | C::SavePowerState(uuid, _) | C::SavePoweringOff(uuid) => {
            take_updates(&result, |updates| {
                documents.entry(*uuid).and_modify(|document| document.update(updates));
            })
        }
        C::GetResources(uuid) => {
            documents.entry(*uuid).and_modify(InstanceDocument::release_resources);
            Response::Done
        }
        C::GetBlockDevices(uuid) => {
            documents.entry(*uuid).and_modify(|document| document.block_devices = result);
            Response::Done
        }
        C::RefreshInfoCache(uuid) => {
            take_updates(&result, |updates| {
                documents.entry(*uuid).and_modify(|document| document.update_info_cache(updates));
            });
            let ports = documents.get(uuid).map(|document| InstanceDocument::cached_ports(&document.object));
            Response::Ports(ports.unwrap_or_default())
        }
        C::SaveInfoCache(uuid) | C::SaveInfoCacheWithout { instance: uuid, .. } => take_updates(&result, |updates| {
            documents.entry(*uuid).and_modify(|document| document.update_info_cache(updates));
        }),
        C::GetGroup(_) => Response::Uuids(uuids(&result["nova_object.data"]["members"])),
        C::GetUuidsOnHost => Response::Uuids(uuids(&result)),
        C::GetIncomingMigrations => {
            let moving = objects(&result).iter().map(|migration| &migration["nova_object.data"]["instance_uuid"]);
            Response::Uuids(moving.filter_map(uuid).collect())
        }
        _ => Response::Done,
    }
}

/// Whether a node says that it is another host's; one that says nothing, and is no node, does not.
fn of_another(node: &Value, host: &str) -> bool {
    node["nova_object.data"].get("host").is_some_and(|name| name != host)
}

fn object_data(object: &Value) -> Option<&Map<String, Value>> {
    object.get("nova_object.data")?.as_object()
}

/// `object_action` answers `[updates, result]`.
fn take_updates(result: &Value, mut take: impl FnMut(&Map<String, Value>)) -> Response {
    if let Some(updates) = result.get(0).and_then(Value::as_object) {
        take(updates);
    }
    Response::Done
}

fn refreshed(data: &Value, host: &str) -> Response {
    Response::Refreshed {
        settled: data["host"] == host && data["task_state"].is_null(),
        power_state: power_state_of(&data["power_state"]),
        vm_state: vm_state(&data["vm_state"]),
    }
}

fn objects(list: &Value) -> &[Value] {
    list.pointer("/nova_object.data/objects").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn instances(list: &Value) -> Vec<Instance> {
    objects(list).iter().filter_map(InstanceDocument::instance).collect()
}

/// VMs that go on with the records that were read: those of a host that starts again, and what a periodic task looks at.
fn adopt(found: &[Value], documents: &mut Documents) -> Vec<Instance> {
    let adopt = |object: &Value| {
        let instance = InstanceDocument::instance(object)?;
        documents.insert(instance.uuid, InstanceDocument::new(object.clone()));
        Some(instance)
    };
    found.iter().filter_map(adopt).collect()
}
