//! RPCs that are carried out as the release's data has it: which procedure it is, and the messages of its steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use hypervisor::{HttpService, Instance, Operation, OperationId, Procedure, Response, Saved, StepKind, power_state};
use serde_json::Value;
use uuid::Uuid;

use super::{Documents, Identity, InstanceDocument, Release, instance::LARGEST_SIZE, task_state, vm_state};
use crate::{
    amqp::{Incoming, Raised, ReplyTo},
    procedure::{self, Beginning, INSTANCE, Scope, Step, Token, resolve},
    values::free_emptied,
};

/// The procedures of a release, ready to be carried out.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    entries: Vec<Entry>,
    by_method: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Entry {
    data: procedure::Procedure,
    /// By number.
    steps: Vec<Step>,
    machine: Rc<Procedure>,
    /// Whether a message has something of the VM's network information in it.
    looks_at_ports: bool,
}

impl Catalogue {
    pub(crate) fn new(release: &Release) -> Self {
        let mut catalogue = Self::default();
        for data in &release.procedures {
            let mut steps = Vec::new();
            let kinds = number(&data.steps, &mut steps);
            let machine = Rc::new(Procedure { method: intern(&data.method), steps: kinds });
            catalogue.by_method.entry(data.method.clone()).or_default().push(catalogue.entries.len());
            let text = serde_json::to_string(data).unwrap_or_default();
            let looks_at_ports = text.contains("$ports") || text.contains("vif");
            catalogue.entries.push(Entry { data: data.clone(), steps, machine, looks_at_ports });
        }
        catalogue
    }

    fn find(&self, method: &str, scope: &Scope) -> Option<usize> {
        let holds = |index: &&usize| {
            let when = &self.entries[**index].data.when;
            when.iter().all(|(path, value)| scope.get(path).unwrap_or(&Value::Null) == value)
        };
        self.by_method.get(method)?.iter().find(holds).copied()
    }
}

/// Numbers the steps in the order they stand, a loop before what is in it.
fn number(steps: &[Step], numbered: &mut Vec<Step>) -> Vec<hypervisor::Step> {
    let mut kinds = Vec::new();
    for step in steps {
        let number_of_it = numbered.len();
        numbered.push(step.clone());
        let kind = match step {
            Step::Action { objinst, objmethod, accepts, .. } => {
                let name = format!("{}.{objmethod}", object_name(objinst));
                let accepts = accepts.as_deref().map(intern);
                StepKind::Call { name: intern(&name), timeout: None, saves: saved(objinst), accepts }
            }
            Step::Query { objname, objmethod, accepts, .. } => StepKind::Call {
                name: intern(&format!("{objname}.{objmethod}")),
                timeout: None,
                saves: Saved::default(),
                accepts: accepts.as_deref().map(intern),
            },
            Step::Http { service, method, path, .. } => {
                StepKind::Http(http_service(service), intern(&format!("{method} {}", shape(path))))
            }
            Step::Send { method, call: Some(wait), .. } => StepKind::Call {
                name: intern(method),
                timeout: Some(Duration::from_millis(wait.timeout_ms)),
                saves: Saved::default(),
                accepts: None,
            },
            Step::Send { .. } => StepKind::Cast,
            Step::Reply { .. } | Step::Raise { .. } => StepKind::Answer,
            Step::NetworkInfo { networks_known } => StepKind::NetworkInfo { networks_known: *networks_known },
            Step::Resources { audit } => StepKind::Resources { audit: *audit },
            Step::Extensions => StepKind::Extensions,
            Step::EachPort { steps } => StepKind::EachPort(number(steps, numbered)),
        };
        kinds.push(hypervisor::Step { number: number_of_it, kind });
    }
    kinds
}

/// Names live as long as the program: there are as many as the data has.
fn intern(name: &str) -> &'static str {
    static NAMES: OnceLock<Mutex<BTreeSet<&'static str>>> = OnceLock::new();
    let mut names = NAMES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name) {
        Some(known) => known,
        None => {
            let kept: &'static str = Box::leak(name.into());
            names.insert(kept);
            kept
        }
    }
}

fn object_name(template: &Value) -> String {
    let named = template["nova_object.name"].as_str();
    let known = template["$object"].as_str().and_then(|path| path.rsplit('/').next());
    match (named, known) {
        (Some(name), _) => name.to_owned(),
        (None, Some("instance")) => "Instance".to_owned(),
        (None, Some("migration")) => "Migration".to_owned(),
        (None, Some("info_cache")) => "InstanceInfoCache".to_owned(),
        (None, other) => other.unwrap_or_default().to_owned(),
    }
}

/// What a save of the VM's record means for the hypervisor.
fn saved(template: &Value) -> Saved {
    if template["$object"] != INSTANCE {
        return Saved::default();
    }
    let set = &template["set"];
    Saved {
        vm_state: set.get("vm_state").map(vm_state),
        task_state: set.get("task_state").map(task_state),
        running: set["power_state"].as_u64().map(|state| state == u64::from(power_state::RUNNING)),
        leaves: set.get("host").is_some_and(Value::is_null),
    }
}

fn http_service(name: &str) -> HttpService {
    match name {
        "placement" => HttpService::Placement,
        "neutron" => HttpService::Neutron,
        _ => HttpService::Glance,
    }
}

/// A path with the places of its values, for reports.
fn shape(path: &Value) -> String {
    let text = path["$text"].as_str().or(path.as_str()).unwrap_or_default();
    let mut shape = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        shape.push_str(before);
        shape.push_str("{id}");
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    shape + rest
}

/// RPCs that a hypervisor carries out.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    ongoing: BTreeMap<OperationId, Ongoing>,
    last: u32,
}

#[derive(Debug)]
struct Ongoing {
    entry: usize,
    scope: Scope,
    instance: Option<Uuid>,
    reply_to: Option<ReplyTo>,
}

/// The message of a step.
#[derive(Debug)]
pub(crate) enum StepBody {
    /// `object_action` or `object_class_action_versions` of the conductor.
    Conductor { method: &'static str, args: Value, context: BTreeMap<String, Value> },
    /// To another service.
    Rpc {
        topic: String,
        fanout: Option<&'static str>,
        method: &'static str,
        namespace: Option<&'static str>,
        version: &'static str,
        args: Value,
        monitor_s: Option<u64>,
    },
    /// An HTTP request: method, service, path with query, microversion, token, document.
    Http {
        service: HttpService,
        method: &'static str,
        path: String,
        microversion: Option<&'static str>,
        token: Token,
        body: Option<Value>,
        content_type: Option<String>,
    },
    /// The answer to the RPC.
    Answer(Option<ReplyTo>, Result<Value, Raised>),
}

impl Operations {
    /// Takes an RPC on, with its arguments and its caller; leaves it when the release's data has no procedure for it.
    pub(crate) fn begin(
        &mut self,
        catalogue: &Catalogue,
        documents: &mut Documents,
        facts: Facts<'_>,
        incoming: &mut Incoming,
    ) -> Option<Operation> {
        let args = incoming.args.take();
        let instance = args.get("instance").and_then(InstanceDocument::instance);
        let ports = instance.as_ref().map(|it| known_ports(&args["instance"], it.uuid, documents)).unwrap_or_default();
        let mut scope = Scope::begin(Beginning {
            args,
            context: &incoming.context,
            host: &facts.identity.host,
            node: Some((facts.identity.node.to_string().into(), facts.node_id.into())),
            has_ports: !ports.is_empty(),
            offloads_at_once: facts.offloads_at_once,
        });
        scope.set("my_ip", MY_IP.into());
        let Some(entry) = catalogue.find(&incoming.method, &scope) else {
            incoming.args = scope.get_mut("args").map(Value::take).unwrap_or_default();
            return None;
        };
        let reply_to = incoming.reply_to.take();
        let instance = instance.map(|instance| with_flavor(instance, &scope, &incoming.method));
        if let Some(instance) = &instance {
            keep(documents, instance.uuid, scope.get_mut(INSTANCE).map(Value::take).unwrap_or_default());
        }
        self.last = self.last.wrapping_add(1);
        let id = OperationId(self.last);
        self.ongoing.insert(id, Ongoing { entry, scope, instance: instance.as_ref().map(|it| it.uuid), reply_to });
        Some(Operation { id, procedure: Rc::clone(&catalogue.entries[entry].machine), instance, ports })
    }

    /// The message of a step, or the path of a value that is missing for it.
    pub(crate) fn write(
        &mut self,
        catalogue: &Catalogue,
        documents: &mut Documents,
        release: &Release,
        message: &hypervisor::StepMessage,
        now: &str,
    ) -> Result<StepBody, String> {
        let ongoing = self.ongoing.get_mut(&message.operation).ok_or("an operation that has ended")?;
        let step = &catalogue.entries[ongoing.entry].steps[message.step];
        lend(ongoing, documents);
        let entry = &catalogue.entries[ongoing.entry];
        if entry.looks_at_ports {
            let network_info = ongoing.scope.get("args/instance/info_cache/network_info").and_then(Value::as_str);
            let network_info = network_info.unwrap_or("[]").to_owned();
            ongoing.scope.set_vifs(&network_info);
        }
        if let Some(port) = message.port {
            let port = port.to_string();
            let vifs = ongoing.scope.get("vifs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let vif = vifs.iter().find(|vif| vif["id"] == port.as_str()).cloned();
            ongoing.scope.set_port(&vif.unwrap_or_else(|| serde_json::json!({"id": port})));
        }
        let body = write_step(step, &mut ongoing.scope, release, now, &mut ongoing.reply_to);
        give_back(ongoing, documents);
        body
    }

    /// Takes an answer over. `status` is that of an HTTP answer.
    pub(crate) fn read(
        &mut self,
        catalogue: &Catalogue,
        documents: &mut Documents,
        message: &hypervisor::StepMessage,
        answer: Value,
    ) -> Response {
        let Some(ongoing) = self.ongoing.get_mut(&message.operation) else { return Response::Done };
        let step = &catalogue.entries[ongoing.entry].steps[message.step];
        if let Step::Action { objinst, .. } = step
            && let Some(path) = objinst["$object"].as_str()
        {
            lend(ongoing, documents);
            ongoing.scope.update(path, &answer);
            give_back(ongoing, documents);
        }
        let made = matches!(step, Step::Http { method, service, .. } if method == "POST" && service == "neutron");
        let port = answer.pointer("/port/id").filter(|_| made).and_then(|id| id.as_str()?.parse().ok());
        let ports = load_network_info(ongoing, documents, &answer);
        ongoing.scope.put(&format!("answers/{}", message.step), answer);
        port.map(Response::Port).or_else(|| ports.map(Response::Ports)).unwrap_or(Response::Done)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        self.ongoing.len()
    }

    /// The VM whose networks a step asks Neutron for.
    pub(crate) fn asks_for_networks(&self, catalogue: &Catalogue, message: &hypervisor::StepMessage) -> Option<Uuid> {
        let ongoing = self.ongoing.get(&message.operation)?;
        match &catalogue.entries[ongoing.entry].steps[message.step] {
            Step::Http { method, path, .. } if method == "GET" && path == "/v2.0/networks" => ongoing.instance,
            _ => None,
        }
    }

    /// Whether a status that means failure is none here.
    pub(crate) fn accepts(&self, catalogue: &Catalogue, message: &hypervisor::StepMessage, status: u16) -> bool {
        let Some(ongoing) = self.ongoing.get(&message.operation) else { return false };
        let step = &catalogue.entries[ongoing.entry].steps[message.step];
        matches!(step, Step::Http { accepts: Some(accepted), .. } if *accepted == status)
    }

    /// Lets go of what was kept for an RPC: who still waits for its end, and the VM that it was about.
    pub(crate) fn end(&mut self, id: OperationId) -> (Option<ReplyTo>, Option<Uuid>) {
        let ended = self.ongoing.remove(&id);
        free_emptied(&mut self.ongoing);
        ended.map_or((None, None), |ongoing| (ongoing.reply_to, ongoing.instance))
    }

    /// Whether one of them is about this VM.
    pub(crate) fn are_about(&self, vm: Uuid) -> bool {
        self.ongoing.values().any(|ongoing| ongoing.instance == Some(vm))
    }
}

/// The VM's record came without its network information, and it was asked for on the way.
fn load_network_info(ongoing: &Ongoing, documents: &mut Documents, answer: &Value) -> Option<Vec<Uuid>> {
    let document = documents.get_mut(&ongoing.instance?)?;
    let cache = answer.get("nova_object.data")?.get("info_cache").filter(|cache| cache.is_object())?;
    let same = answer["nova_object.data"]["uuid"] == document.object["nova_object.data"]["uuid"];
    if !same || document.field("info_cache").is_object() {
        return None;
    }
    let ports = InstanceDocument::cached_ports(answer);
    document.object["nova_object.data"]["info_cache"] = cache.clone();
    Some(ports)
}

/// What a hypervisor knows of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) identity: &'a Identity,
    /// The number that the conductor gave its compute node.
    pub(crate) node_id: Option<u64>,
    /// Whether what is shelved leaves the host at once.
    pub(crate) offloads_at_once: bool,
}

/// What the fake driver says is its host's address (`get_host_ip_addr`).
const MY_IP: &str = "192.168.0.1";

/// The ports of a VM: those of the record that came, or else of the one that is here.
fn known_ports(object: &Value, uuid: Uuid, documents: &Documents) -> Vec<Uuid> {
    let told = InstanceDocument::cached_ports(object);
    if told.is_empty() {
        return documents.get(&uuid).map(|known| InstanceDocument::cached_ports(&known.object)).unwrap_or_default();
    }
    told
}

/// Takes over the record that an RPC brings.
fn keep(documents: &mut Documents, uuid: Uuid, object: Value) {
    match documents.get_mut(&uuid) {
        Some(document) => document.object = object,
        None => {
            documents.insert(uuid, InstanceDocument::new(object));
        }
    }
}

fn lend(ongoing: &mut Ongoing, documents: &mut Documents) {
    if let Some(document) = ongoing.instance.and_then(|uuid| documents.get_mut(&uuid)) {
        ongoing.scope.put(INSTANCE, document.object.take());
    }
}

fn give_back(ongoing: &mut Ongoing, documents: &mut Documents) {
    if let Some(document) = ongoing.instance.and_then(|uuid| documents.get_mut(&uuid)) {
        document.object = ongoing.scope.get_mut(INSTANCE).map(Value::take).unwrap_or_default();
    }
}

/// A move is about the flavor that the VM will have, or had.
fn with_flavor(instance: Instance, scope: &Scope, method: &str) -> Instance {
    let path = match method {
        "prep_resize" => "args/flavor",
        "finish_resize" | "revert_resize" => "args/instance/new_flavor",
        "confirm_resize" => "args/instance/old_flavor",
        _ => return instance,
    };
    let size =
        |name: &str| scope.get(&format!("{path}/{name}")).and_then(Value::as_u64).map(|size| size.min(LARGEST_SIZE));
    let (Some(vcpus), Some(memory_mb), Some(root_gb)) = (size("vcpus"), size("memory_mb"), size("root_gb")) else {
        return instance;
    };
    let disk_gb = root_gb + size("ephemeral_gb").unwrap_or(0);
    Instance { vcpus: u32::try_from(vcpus).unwrap_or(u32::MAX), memory_mb, disk_gb, ..instance }
}

fn write_step(
    step: &Step,
    scope: &mut Scope,
    release: &Release,
    now: &str,
    reply_to: &mut Option<ReplyTo>,
) -> Result<StepBody, String> {
    let mut fill = |template: &Value| resolve(template, scope, now);
    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
    Ok(match step {
        Step::Action { objinst, objmethod, args, kwargs, context, accepts: _ } => StepBody::Conductor {
            context: context.clone(),
            method: "object_action",
            args: serde_json::json!({
                "objinst": fill(objinst)?, "objmethod": objmethod, "args": fill(args)?, "kwargs": fill(kwargs)?,
            }),
        },
        Step::Query { objname, objmethod, args, kwargs, context, accepts: _ } => StepBody::Conductor {
            context: context.clone(),
            method: "object_class_action_versions",
            args: serde_json::json!({
                "objname": objname, "objmethod": objmethod, "object_versions": release.versions_of(objname),
                "args": fill(args)?, "kwargs": fill(kwargs)?,
            }),
        },
        Step::Http { service, method, path, query, microversion, token, body, content_type, accepts: _ } => {
            let mut path = text(fill(path)?);
            if !query.is_null() {
                path = format!("{path}?{}", text(fill(query)?));
            }
            let body = if body.is_null() { None } else { Some(fill(body)?) };
            let microversion = microversion.as_deref().map(intern);
            StepBody::Http {
                service: http_service(service),
                method: intern(method),
                path,
                microversion,
                token: *token,
                body,
                content_type: content_type.clone(),
            }
        }
        Step::Send { topic, fanout, method, namespace, version, args, call } => StepBody::Rpc {
            topic: text(fill(topic)?),
            fanout: fanout.then(|| intern(topic.as_str().unwrap_or_default())),
            method: intern(method),
            namespace: namespace.as_deref().map(intern),
            version: intern(version),
            args: fill(args)?,
            monitor_s: call.and_then(|wait| wait.monitor_s),
        },
        Step::Reply { result } => {
            let result = fill(result)?;
            StepBody::Answer(reply_to.take(), Ok(result))
        }
        Step::Raise { class, module, message, kwargs } => {
            let message = text(fill(message)?);
            let kwargs = fill(kwargs)?;
            StepBody::Answer(
                reply_to.take(),
                Err(Raised { class: class.clone().into(), module: module.clone().into(), message, kwargs }),
            )
        }
        Step::NetworkInfo { .. } | Step::Resources { .. } | Step::Extensions | Step::EachPort { .. } => {
            return Err("a step without a message".to_owned());
        }
    })
}
