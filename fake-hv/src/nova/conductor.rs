//! Calls to nova-conductor and notices to the schedulers, as messages.

use hypervisor::{ActionEvent, ConductorCall, InstanceState, Notice, Resources};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Documents, Identity, InstanceDocument, Release, Rows, Save,
    instance::{ROOT_DEVICE, name_of},
    traceback,
};
use crate::contexts::Context;

/// Method, arguments and version of a message; the transport adds the envelope.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) method: &'static str,
    pub(crate) namespace: Option<&'static str>,
    pub(crate) version: &'static str,
    pub(crate) args: Value,
    /// Whether rows that are marked as deleted count, which the request context says.
    pub(crate) reads_deleted: bool,
    /// Said as an administrator, whoever asked (`context.elevated()`).
    pub(crate) elevated: bool,
}

impl Body {
    /// To a main API, said as whoever asked.
    fn new(method: &'static str, version: &'static str, args: Value) -> Self {
        Self { method, namespace: None, version, args, reads_deleted: false, elevated: false }
    }

    /// The request context that it is said in, from that of its reason.
    pub(crate) fn context(&self, context: &Context) -> Value {
        let mut context = context.write();
        if self.reads_deleted {
            context["_context_read_deleted"] = "yes".into();
        }
        if self.elevated {
            context["_context_roles"] = json!(["admin"]);
        }
        context
    }
}

/// What a hypervisor needs to write its messages.
pub(crate) struct Author<'a> {
    pub(crate) release: &'a Release,
    pub(crate) identity: &'a Identity,
    pub(crate) resources: &'a Resources,
    pub(crate) rows: &'a Rows,
    pub(crate) documents: &'a mut Documents,
    /// Of what it is a part of.
    pub(crate) context: &'a Context,
    /// Now, as Nova writes times: `2026-11-23T05:57:35Z`.
    pub(crate) now: &'a str,
}

/// A remotable method of an instance of an object.
fn on_object(release: &Release, objinst: Value, objmethod: &str, kwargs: Value) -> Body {
    let args = json!({"objinst": objinst, "objmethod": objmethod, "args": [], "kwargs": kwargs});
    Body::new("object_action", release.rpc_versions.conductor, args)
}

/// The message of a call, or `None` when it is about a VM that this host has no record of.
pub(crate) fn call(author: &mut Author<'_>, call: &ConductorCall) -> Option<Body> {
    use ConductorCall as C;
    let body = match call {
        C::Ping => Body {
            namespace: Some("baseapi"),
            ..Body::new("ping", author.release.rpc_versions.baseapi, json!({"arg": "1.21 GigaWatts"}))
        },
        C::CreateService => {
            on_object(author.release, Rows::new_service(author.release, author.identity), "create", json!({}))
        }
        C::SaveService { report_count } => author.service(Some(*report_count)),
        C::CreateNode => {
            let node = author.rows.new_node(author.release, author.identity, author.resources);
            on_object(author.release, node, "create", json!({}))
        }
        C::SaveNode { usage, touched } => {
            let save = Save { usage, touched: *touched };
            let node = author.rows.node(author.release, author.identity, author.resources, save);
            on_object(author.release, node, "save", json!({}))
        }
        C::EndEvacuation(uuid) => on_object(author.release, author.rows.end_evacuation(*uuid)?, "save", json!({})),
        C::SaveInstance(..)
        | C::DestroyInstance(_)
        | C::RefreshInstance(_)
        | C::SavePowerState(..)
        | C::SavePoweringOff(_)
        | C::RefreshInfoCache(_)
        | C::SaveInfoCache(_)
        | C::SaveInfoCacheWithout { .. }
        | C::SaveBlockDevice(_)
        | C::CreateInterface { .. }
        | C::CreateFault { .. } => return author.about_instance(call),
        query => {
            let reads_deleted = matches!(
                query,
                C::GetEvacuations
                    | C::GetNode
                    | C::GetResources(_)
                    | C::GetRunningDeleted(_)
                    | C::GetPendingDeletes
                    | C::LoadField(..)
            );
            let elevated = matches!(query, C::GetInstancesToSync);
            return Some(Body { reads_deleted, elevated, ..author.query(query) });
        }
    };
    Some(body)
}

impl Author<'_> {
    fn service(&self, report_count: Option<u64>) -> Body {
        on_object(self.release, self.rows.service(self.release, self.identity, report_count), "save", json!({}))
    }

    /// A remotable class method: a question.
    fn ask(&self, objname: &str, objmethod: &str, args: Value, kwargs: Value) -> Body {
        let args = json!({
            "objname": objname, "objmethod": objmethod, "object_versions": self.release.versions_of(objname),
            "args": args, "kwargs": kwargs,
        });
        Body::new("object_class_action_versions", self.release.rpc_versions.conductor, args)
    }

    fn query(&self, call: &ConductorCall) -> Body {
        use ConductorCall as C;
        let host = &self.identity.host;
        let none = || json!({});
        match call {
            C::GetMinimumVersion => self.ask("Service", "get_minimum_version", json!(["nova-compute"]), none()),
            C::GetService => self.ask("Service", "get_by_host_and_binary", json!([host, "nova-compute"]), none()),
            C::GetNodesByUuid => self.ask("ComputeNodeList", "get_all_by_uuids", json!([[self.identity.node]]), none()),
            C::GetInstancesAtStart => {
                let attrs = &self.release.fields_at_start;
                self.ask("InstanceList", "get_by_host", json!([host]), json!({"expected_attrs": attrs}))
            }
            C::GetInstances | C::GetInstancesToSync | C::GetInstancesWithPower => {
                self.ask("InstanceList", "get_by_host", json!([host]), json!({"expected_attrs": [], "use_slave": true}))
            }
            C::LoadField(uuid, field) => {
                let kwargs = json!({"expected_attrs": [name_of(*field)], "uuid": uuid});
                self.ask("Instance", "get_by_uuid", json!([]), kwargs)
            }
            C::GetInstanceToHeal(uuid) => {
                let attrs = json!(["system_metadata", "info_cache", "flavor"]);
                let kwargs = json!({"expected_attrs": attrs, "use_slave": true});
                self.ask("Instance", "get_by_uuid", json!([uuid]), kwargs)
            }
            C::GetInterfaces(uuid) => {
                self.ask("VirtualInterfaceList", "get_by_instance_uuid", json!([uuid]), json!({}))
            }
            C::GetEvacuated(uuid) => self.ask("Instance", "get_by_uuid", json!([uuid]), none()),
            C::GetEvacuations => self.ask("MigrationList", "get_by_filters", json!([self.evacuations()]), none()),
            C::GetNodesByHost => {
                self.ask("ComputeNodeList", "get_all_by_host", json!([host]), json!({"use_slave": true}))
            }
            C::GetNode => self.ask("ComputeNode", "get_by_uuid", json!([self.identity.node]), none()),
            C::GetPciDevices => self.ask("PciDeviceList", "get_by_compute_node", json!([self.rows.node_id()]), none()),
            C::GetInstancesByNode => {
                let attrs = json!(["system_metadata", "numa_topology", "flavor", "migration_context", "resources"]);
                let args = json!([host, host]);
                self.ask("InstanceList", "get_by_host_and_node", args, json!({"expected_attrs": attrs}))
            }
            C::GetMigrations => self.ask("MigrationList", "get_in_progress_and_error", json!([host, host]), none()),
            C::GetServiceOfNode => self.ask("Service", "get_by_compute_host", json!([host]), none()),
            C::GetInstance(uuid) => self.ask("Instance", "get_by_uuid", json!([uuid]), json!({"expected_attrs": []})),
            _ => self.periodic_or_lifecycle_query(call),
        }
    }

    fn periodic_or_lifecycle_query(&self, call: &ConductorCall) -> Body {
        use ConductorCall as C;
        let host = &self.identity.host;
        match call {
            C::GetPendingDeletes => {
                let filters = json!({"deleted": true, "soft_deleted": false, "host": host, "cleaned": false});
                let kwargs = json!({"expected_attrs": ["system_metadata"], "use_slave": true});
                self.ask("InstanceList", "get_by_filters", json!([filters]), kwargs)
            }
            C::GetRunningDeleted(on_driver) => {
                let filters = json!({"deleted": true, "soft_deleted": false, "uuid": on_driver});
                self.ask("InstanceList", "get_by_filters", json!([filters]), json!({"use_slave": true}))
            }
            C::GetImageCacheUsers => {
                let filters = json!({"deleted": false, "soft_deleted": true, "host": [host]});
                let kwargs = json!({"expected_attrs": [], "use_slave": true});
                self.ask("InstanceList", "get_by_filters", json!([filters]), kwargs)
            }
            C::GetIncompleteMigrations => {
                let filters = json!({"host": host, "status": "error"});
                self.ask("MigrationList", "get_by_filters", json!([filters]), json!({}))
            }
            C::CleanConsoleTokens => self.ask("ConsoleAuthToken", "clean_expired_console_auths", json!([]), json!({})),
            C::StartEvent(uuid, event) => {
                let kwargs = json!({"want_result": false, "host": host});
                self.ask("InstanceActionEvent", "event_start", json!([uuid, event_name(*event)]), kwargs)
            }
            C::FinishEvent { instance, event, failure } => {
                let kwargs = json!({"exc_val": failure, "exc_tb": failure, "want_result": false});
                let args = json!([instance, event_name(*event)]);
                self.ask("InstanceActionEvent", "event_finish_with_failure", args, kwargs)
            }
            C::StartStop(uuid) => {
                self.ask("InstanceAction", "action_start", json!([uuid, "stop"]), json!({"want_result": false}))
            }
            C::GetBlockDevices(uuid) => {
                self.ask("BlockDeviceMappingList", "get_by_instance_uuid", json!([uuid]), json!({}))
            }
            C::DeleteInterfaces(uuid) => {
                self.ask("VirtualInterface", "delete_by_instance_uuid", json!([uuid]), json!({}))
            }
            C::GetShares(uuid) => self.ask("ShareMappingList", "get_by_instance_uuid", json!([uuid]), json!({})),
            C::GetGroup(uuid) => self.ask("InstanceGroup", "get_by_uuid", json!([uuid]), json!({})),
            C::GetUuidsOnHost => self.ask("InstanceList", "get_uuids_by_host", json!([host]), json!({})),
            C::GetIncomingMigrations => {
                self.ask("MigrationList", "get_in_progress_by_host_and_node", json!([host, host]), json!({}))
            }
            C::GetResources(uuid) => self.ask("ResourceList", "get_by_instance_uuid", json!([uuid]), json!({})),
            C::CleanInstanceConsoleTokens(uuid) => {
                self.ask("ConsoleAuthToken", "clean_console_auths_for_instance", json!([uuid]), json!({}))
            }
            other => unreachable!("{} is not a query", other.name()),
        }
    }

    fn evacuations(&self) -> Value {
        json!({
            "source_compute": self.identity.host, "status": ["accepted", "pre-migrating", "done"],
            "migration_type": "evacuation",
        })
    }

    /// Calls that carry the VM's record, or a part of it.
    fn about_instance(&mut self, call: &ConductorCall) -> Option<Body> {
        use ConductorCall as C;
        let uuid = subject(call)?;
        let (release, host, node_id) = (self.release, &self.identity.host, self.rows.node_id());
        let document = self.documents.get_mut(&uuid)?;
        let body = match call {
            C::SaveInstance(_, state) => {
                let (object, kwargs) = document.enter(*state, host, node_id, self.now, self.context);
                let reads_deleted = *state == InstanceState::Cleaned;
                Body { reads_deleted, ..on_object(release, object, "save", kwargs) }
            }
            C::DestroyInstance(_) => on_object(release, document.object.clone(), "destroy", json!({})),
            C::RefreshInstance(_) => on_object(release, document.object.clone(), "refresh", json!({"use_slave": true})),
            C::SavePowerState(_, power_state) => {
                document.set(json!({"power_state": power_state}));
                on_object(release, document.object.clone(), "save", json!({}))
            }
            C::SavePoweringOff(_) => {
                document.set(json!({"progress": 0, "task_state": "powering-off"}));
                on_object(release, document.object.clone(), "save", json!({"expected_task_state": [null]}))
            }
            C::RefreshInfoCache(_) => on_object(release, document.field("info_cache").clone(), "refresh", json!({})),
            C::SaveInfoCache(_) => {
                document.mark_changed(["info_cache"]);
                on_object(release, info_cache(release, uuid, document), "save", json!({}))
            }
            C::SaveInfoCacheWithout { port, .. } => document
                .forget_port(*port)
                .then(|| on_object(release, info_cache(release, uuid, document), "save", json!({})))?,
            C::SaveBlockDevice(_) => on_object(release, root_disk(document)?, "save", json!({})),
            C::CreateInterface { port, .. } => {
                on_object(release, interface(release, uuid, document, *port)?, "create", json!({}))
            }
            C::CreateFault { message, .. } => {
                let data = json!({
                    "instance_uuid": uuid, "code": 500, "message": message.get(..255).unwrap_or(message),
                    "details": traceback::of_fault(message), "host": host,
                });
                let changes = ["instance_uuid", "code", "message", "details", "host"];
                on_object(release, release.object("InstanceFault", data, &changes), "create", json!({}))
            }
            _ => return None,
        };
        Some(body)
    }
}

/// The VM that a call carries the record of.
fn subject(call: &ConductorCall) -> Option<Uuid> {
    use ConductorCall as C;
    match call {
        C::SaveInstance(uuid, _)
        | C::DestroyInstance(uuid)
        | C::RefreshInstance(uuid)
        | C::SavePowerState(uuid, _)
        | C::SavePoweringOff(uuid)
        | C::RefreshInfoCache(uuid)
        | C::SaveInfoCache(uuid)
        | C::SaveInfoCacheWithout { instance: uuid, .. }
        | C::SaveBlockDevice(uuid)
        | C::CreateInterface { instance: uuid, .. }
        | C::CreateFault { instance: uuid, .. } => Some(*uuid),
        _ => None,
    }
}

fn event_name(event: ActionEvent) -> String {
    match event {
        ActionEvent::Build => "compute__do_build_and_run_instance".to_owned(),
        ActionEvent::Terminate => "compute_terminate_instance".to_owned(),
        ActionEvent::Other(method) => format!("compute_{method}"),
    }
}

fn info_cache(release: &Release, uuid: Uuid, document: &InstanceDocument) -> Value {
    // A list at any rate: Nova's API cannot show a VM whose network information is null.
    let data = json!({"instance_uuid": uuid, "network_info": document.network_info()});
    release.object("InstanceInfoCache", data, &["network_info", "instance_uuid"])
}

fn root_disk(document: &InstanceDocument) -> Option<Value> {
    let mut disk = document.block_devices.pointer("/nova_object.data/objects/0")?.clone();
    disk.get_mut("nova_object.data")?.as_object_mut()?.insert("device_name".to_owned(), ROOT_DEVICE.into());
    disk["nova_object.changes"] = json!(["device_name"]);
    Some(disk)
}

fn interface(release: &Release, uuid: Uuid, document: &InstanceDocument, port: Uuid) -> Option<Value> {
    let port = document.ports.iter().find(|candidate| candidate.id == port)?;
    let address = format!("{}/{}", port.mac_address, port.id); // namespaced, for Nova wants it unique
    let data = json!({"instance_uuid": uuid, "tag": null, "address": address, "uuid": port.id});
    Some(release.object("VirtualInterface", data, &["uuid", "tag", "address", "instance_uuid"]))
}

/// Version of `stop_instance` in which Nova's own client asks for it, whatever the latest is (`nova/compute/rpcapi.py`).
const STOP_VERSION: &str = "6.0";

/// The message of a notice, or `None` for a VM that this host has no record of.
pub(crate) fn notice(author: &Author<'_>, notice: &Notice) -> Option<Body> {
    let host = &author.identity.host;
    let version = author.release.rpc_versions.scheduler;
    let elevated = matches!(notice, Notice::InstancesAtStart | Notice::InstanceSync(_));
    let body = |method, args| Body { elevated, ..Body::new(method, version, args) };
    match notice {
        Notice::InstancesAtStart => {
            let all: Vec<Value> = author.documents.values().map(|document| document.object.clone()).collect();
            // As the conductor gave it, unless something was loaded into one of them.
            let changed = all.iter().any(|object| object["nova_object.changes"].is_array());
            let changes: &[&str] = if changed { &["objects"] } else { &[] };
            let list = author.release.object("InstanceList", json!({"objects": all}), changes);
            Some(body("update_instance_info", json!({"host_name": host, "instance_info": list})))
        }
        Notice::InstanceChanged(uuid) => {
            let document = author.documents.get(uuid)?;
            let list = json!({"objects": [document.object.clone()]});
            let list = author.release.object("InstanceList", list, &["objects"]);
            Some(body("update_instance_info", json!({"host_name": host, "instance_info": list})))
        }
        Notice::InstanceDeleted(uuid) => {
            Some(body("delete_instance_info", json!({"host_name": host, "instance_uuid": uuid})))
        }
        Notice::InstanceSync(uuids) => {
            Some(body("sync_instance_info", json!({"host_name": host, "instance_uuids": uuids})))
        }
        Notice::Reschedule { instance, reason } => author.reschedule(*instance, reason),
        Notice::Stop(uuid) => {
            let args = json!({"clean_shutdown": true, "instance": author.documents.get(uuid)?.object});
            Some(Body::new("stop_instance", STOP_VERSION, args))
        }
        Notice::Step(_) => None,
    }
}

impl Author<'_> {
    /// `build_instances` of the compute task API: the VM again, with this host among those that were tried.
    fn reschedule(&self, uuid: Uuid, reason: &str) -> Option<Body> {
        let document = self.documents.get(&uuid)?;
        let mut request = document.build_request.clone()?;
        let retry = request.get_mut("filter_properties").and_then(|properties| properties.get_mut("retry"));
        if let Some(retry) = retry.and_then(Value::as_object_mut) {
            retry.insert("exc".to_owned(), json!(traceback::of_reschedule(uuid, reason)));
            retry.insert("exc_reason".to_owned(), reason.into());
        }
        let list = |name: &str| request.get(name).cloned().unwrap_or(Value::Null);
        let args = json!({
            "instances": [document.object.clone()], "image": list("image"),
            "filter_properties": list("filter_properties"), "admin_password": list("admin_password"),
            "injected_files": list("injected_files"), "requested_networks": list("requested_networks"),
            "security_groups": list("security_groups"), "request_spec": list("request_spec"), "host_lists": [list("host_list")],
        });
        let body = Body::new("build_instances", self.release.rpc_versions.compute_task, args);
        Some(Body { namespace: Some("compute_task"), ..body })
    }
}
