//! One operation on the hypervisors of one kind: what it needs, what it does, and what was said on the wire meanwhile.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use control_plane::load::{Answer, ApiError, Call, Service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    caller::{Caller, Request},
    compare::short_name,
    lab::{Lab, LabError, Side, wait},
    tap::Hold,
    trace::Trace,
};

/// How long a server may take to get where an operation leads.
const STATE_WITHIN: Duration = Duration::from_secs(120);
/// Nothing more is said of an operation when nothing was for this long: Neutron tells Nova of changes every two seconds.
const QUIET: Duration = Duration::from_millis(2500);
/// And when it never is quiet, the recording ends all the same.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// Neutron is asked for something this often while one waits for what it tells.
const NUDGE_EVERY: Duration = Duration::from_millis(300);

/// A server of a scene.
pub(crate) type Server = String;

/// How an operation is varied: what it is done to, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variation {
    /// NICs of each server.
    pub nics: usize,
    /// Whether the first host is the destination and the second the source, and flavors are the other way round, too.
    pub swapped: bool,
}

/// The stage of one operation.
pub(crate) struct Scene<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) side: &'a Side,
    from_us: Cell<u64>,
    to_us: Cell<u64>,
    servers: Cell<u32>,
    name: &'a str,
    /// Of the first hypervisor while it counts, over the laboratory's.
    options: RefCell<BTreeMap<String, i64>>,
    pub(crate) variation: Variation,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(lab: &'a Lab, side: &'a Side, name: &'a str, variation: Variation) -> Self {
        let from_us = Cell::new(side.subjects[0].tap.now_us());
        Self {
            lab,
            side,
            from_us,
            to_us: Cell::new(u64::MAX),
            servers: Cell::new(0),
            name,
            options: RefCell::default(),
            variation,
        }
    }

    /// Name of a host: zero is the one that servers are booted on, one the other.
    pub(crate) fn host(&self, index: usize) -> &str {
        &self.subject(index).host
    }

    fn subject(&self, index: usize) -> &crate::lab::Subject {
        &self.side.subjects[if self.variation.swapped { 1 - index } else { index }]
    }

    /// The flavor that servers are booted with, or the one to resize to.
    pub(crate) fn flavor(&self, other: bool) -> &str {
        match other == self.variation.swapped {
            true => &self.lab.tenants.flavors[0],
            false => &self.lab.large_flavor,
        }
    }

    /// What was done so far was preparation. When nothing more is said of it, what counts begins.
    pub(crate) async fn begin(&self) {
        self.quiet().await;
        self.from_us.set(self.side.subjects[0].tap.now_us());
    }

    /// What was done so far was preparation.
    pub(crate) fn begin_at_once(&self) {
        self.from_us.set(self.side.subjects[0].tap.now_us());
    }

    /// What is done from now on is tidying up.
    pub(crate) fn finish(&self) {
        self.to_us.set(self.side.subjects[0].tap.now_us());
    }

    /// Waits until nothing more is said of the operation, and gives what each hypervisor said and heard.
    pub(crate) async fn end(self) -> Result<Vec<Trace>, LabError> {
        self.side.subjects.iter().for_each(|subject| subject.tap.hold_network(Hold::Nothing));
        self.quiet().await;
        Ok(self.traces())
    }

    async fn quiet(&self) {
        let begun = tokio::time::Instant::now();
        loop {
            let traces = self.traces();
            let now_us = self.side.subjects[0].tap.now_us();
            let last_us = traces.iter().filter_map(Trace::last_us).max().unwrap_or(self.from_us.get());
            let quiet = Duration::from_micros(now_us.saturating_sub(last_us));
            if quiet >= QUIET || begun.elapsed() > QUIET_WITHIN {
                return;
            }
            tokio::time::sleep(QUIET - quiet.min(QUIET)).await;
        }
    }

    fn traces(&self) -> Vec<Trace> {
        let of = |subject: &crate::lab::Subject| {
            let mut events = subject.tap.since(self.from_us.get());
            events.retain(|event| event.at_us < self.to_us.get());
            Trace::new(&subject.host, events)
        };
        self.side.subjects.iter().map(of).collect()
    }

    async fn call(&self, call: &Call) -> Result<Answer, ApiError> {
        self.lab.admin.call(call).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, LabError> {
        let answer = self.call(&Call::post(self.what(), Service::Compute, path, body)).await?;
        Ok(answer.json().unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, LabError> {
        Ok(self.call(&Call::get(self.what(), Service::Compute, path)).await?.json()?)
    }

    /// What is asked for here is refused, by real hypervisors too.
    pub(crate) fn expect_refusal(&self, result: Result<Value, LabError>) -> Result<(), LabError> {
        match result {
            Ok(answer) => {
                Err(LabError::Otherwise { what: format!("{}: a refusal", self.name), was: answer.to_string() })
            }
            Err(LabError::Api(error)) if error.status().is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until nothing more is said.
    pub(crate) async fn settle(&self) {
        self.quiet().await;
    }

    /// Takes a host out of the scheduler's hands, or gives it back.
    pub(crate) async fn set_status(&self, host: usize, status: &str) -> Result<(), LabError> {
        self.update_service(host, json!({"status": status})).await
    }

    pub(crate) async fn remove(&self, path: &str) -> Result<(), LabError> {
        self.call(&Call::delete(self.what(), Service::Compute, path)).await?;
        Ok(())
    }

    fn what(&self) -> &'static str {
        "operation"
    }

    /// Asks for a server with this many NICs on a host.
    pub(crate) async fn create(&self, host: usize, nics: usize, more: Value) -> Result<Server, LabError> {
        let number = self.servers.get();
        self.servers.set(number + 1);
        let tenants = &self.lab.tenants;
        let in_turn = self.lab.networks.iter().cycle().take(nics).map(|network| json!({"uuid": network}));
        let networks = if nics == 0 { json!("none") } else { in_turn.collect() };
        let mut body = json!({"server": {
            "name": tenants.run.numbered(&format!("vm-{}", self.name), number), "imageRef": tenants.image,
            "flavorRef": self.flavor(false), "networks": networks,
            "availability_zone": format!("{}:{}", self.side.zone, self.host(host)),
        }});
        if let (Value::Object(parts), Some(whole)) = (more, body.as_object_mut()) {
            for (key, value) in parts {
                match (whole.get_mut(&key), value) {
                    (Some(Value::Object(known)), Value::Object(new)) => known.extend(new),
                    (_, value) => {
                        whole.insert(key, value);
                    }
                }
            }
        }
        let made = self.post("/servers", body).await?;
        Ok(made["server"]["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Asks for a server without saying on which host; the second one has less room, so that the first one comes first.
    pub(crate) async fn create_where_there_is_room(&self, nics: usize) -> Result<Server, LabError> {
        let large = json!({"server": {"flavorRef": self.flavor(true)}});
        let filler = self.create(1, 0, large).await?;
        self.reach(&filler, "ACTIVE").await?;
        self.begin().await;
        self.create(0, nics, json!({"server": {"availability_zone": self.side.zone}})).await
    }

    /// A server that runs.
    pub(crate) async fn boot(&self) -> Result<Server, LabError> {
        let server = self.create(0, self.variation.nics, Value::Null).await?;
        self.reach(&server, "ACTIVE").await?;
        Ok(server)
    }

    pub(crate) async fn act(&self, server: &Server, body: Value) -> Result<Value, LabError> {
        self.post(&format!("/servers/{server}/action"), body).await
    }

    /// Waits for a status without a task; one that cannot lead there any more is an error.
    pub(crate) async fn reach(&self, server: &Server, status: &str) -> Result<(), LabError> {
        let path = format!("/servers/{server}");
        wait(&format!("{}: server {status}", self.name), STATE_WITHIN, async || {
            let call = Call::get("server", Service::Compute, path.as_str());
            let found = self.lab.admin.call(&call).await?.json()?;
            let now = found["server"]["status"].as_str().unwrap_or_default();
            let task = &found["server"]["OS-EXT-STS:task_state"];
            let there = now == status && task.is_null();
            Ok(there.then_some(()).ok_or_else(|| format!("{now}, task {task}, fault {}", found["server"]["fault"])))
        })
        .await
    }

    /// Does something to a server and waits for what comes of it.
    pub(crate) async fn act_until(&self, server: &Server, body: Value, status: &str) -> Result<(), LabError> {
        self.act(server, body).await?;
        self.reach(server, status).await
    }

    /// Deletes a server and waits until it is gone.
    pub(crate) async fn delete(&self, server: &Server) -> Result<(), LabError> {
        self.begin_deleting(server).await?;
        self.gone(server).await
    }

    /// Asks for the end of a server.
    pub(crate) async fn begin_deleting(&self, server: &Server) -> Result<(), LabError> {
        self.remove(&format!("/servers/{server}")).await
    }

    /// Tells Nova, as Neutron does, that the ports of a server are plugged.
    pub(crate) async fn plug(&self, server: &Server) -> Result<(), LabError> {
        for port in self.ports(server).await? {
            self.post_event(server, "network-vif-plugged", &port).await?;
        }
        Ok(())
    }

    /// Tells Nova, as Neutron does, that the ports of a server have changed.
    pub(crate) async fn tell_network_changed(&self, server: &Server) -> Result<(), LabError> {
        for port in self.ports(server).await? {
            self.post_event(server, "network-changed", &port).await?;
        }
        Ok(())
    }

    pub(crate) async fn post_event(&self, server: &Server, name: &str, port: &str) -> Result<(), LabError> {
        let mut event = json!({"name": name, "server_uuid": server, "tag": port});
        if name == "network-vif-plugged" {
            event["status"] = "completed".into();
        }
        self.post("/os-server-external-events", json!({"events": [event]})).await?;
        Ok(())
    }

    /// UUIDs of the ports of a server.
    pub(crate) async fn ports(&self, server: &Server) -> Result<Vec<String>, LabError> {
        let found = self.get(&format!("/servers/{server}/os-interface")).await?;
        let found = found["interfaceAttachments"].as_array().into_iter().flatten();
        Ok(found.filter_map(|port| port["port_id"].as_str()).map(str::to_owned).collect())
    }

    /// Makes Nova believe that a host is down, or believe what it sees again.
    pub(crate) async fn force_down(&self, host: usize, down: bool) -> Result<(), LabError> {
        self.update_service(host, json!({"forced_down": down})).await
    }

    async fn update_service(&self, host: usize, body: Value) -> Result<(), LabError> {
        let found = self.get(&format!("/os-services?binary=nova-compute&host={}", self.host(host))).await?;
        let id = found["services"][0]["id"].as_str().unwrap_or_default().to_owned();
        let call = Call::put(self.what(), Service::Compute, format!("/os-services/{id}"), body);
        self.call(&call).await?;
        Ok(())
    }

    /// Ends a hypervisor and starts it with these options; without any as it was.
    pub(crate) async fn restart_with(&self, host: usize, options: &[(&str, i64)]) -> Result<(), LabError> {
        self.lab.restart_with(self.side.kind, self.subject(host), options).await?;
        if host == 0 && self.to_us.get() == u64::MAX {
            self.options.replace(options.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect());
        }
        Ok(())
    }

    /// When nothing more is said, what counts has been said: a hypervisor is started again as it was.
    pub(crate) async fn put_back(&self, host: usize) -> Result<(), LabError> {
        self.settle().await;
        self.finish();
        self.restart_with(host, &[]).await
    }

    /// Options of the first hypervisor, over the laboratory's.
    pub(crate) fn options(&self) -> BTreeMap<String, i64> {
        self.options.borrow().clone()
    }

    /// Holds requests of a hypervisor to Neutron, and lets others go.
    pub(crate) fn hold_network(&self, host: usize, hold: Hold) {
        self.subject(host).tap.hold_network(hold);
    }

    /// Asks Neutron for something now and then while one waits for what it tells: in 2024.2 what it has to tell leaves a process of its
    /// API when that is asked for something else, and with requests held nobody asks.
    pub(crate) async fn keeping_network_awake<T>(
        &self,
        waiting: impl Future<Output = Result<T, LabError>>,
    ) -> Result<T, LabError> {
        let asking = async {
            loop {
                tokio::time::sleep(NUDGE_EVERY).await;
                let nudge = Call::get(self.what(), Service::Network, "/networks?limit=1");
                if let Err(error) = self.call(&nudge).await {
                    return Err(LabError::from(error));
                }
            }
        };
        tokio::select! {
            done = waiting => done,
            failed = asking => failed,
        }
    }

    /// Waits until a hypervisor has said something this often since the scene began.
    pub(crate) async fn until_said(&self, host: usize, name: &str, times: usize) -> Result<(), LabError> {
        wait(&format!("{}: {times} times {name}", self.name), STATE_WITHIN, async || {
            let said = self.said(host, name);
            Ok((said >= times).then_some(()).ok_or_else(|| format!("said {said} times")))
        })
        .await
    }

    /// How often a hypervisor has said something since the scene began.
    pub(crate) fn said(&self, host: usize, name: &str) -> usize {
        let events = self.subject(host).tap.since(self.from_us.get());
        events.iter().filter(|event| event.is_utterance() && short_name(event) == name).count()
    }

    /// Fails when a hypervisor has not said something exactly this often.
    pub(crate) fn expect_said(&self, host: usize, name: &str, times: usize) -> Result<(), LabError> {
        match self.said(host, name) {
            said if said == times => Ok(()),
            said => Err(LabError::Otherwise {
                what: format!("{}: {times} times {name}", self.name),
                was: format!("{said} times"),
            }),
        }
    }

    /// Asks a hypervisor for what Nova would not, as cast and as call, and then whether it still serves.
    pub(crate) async fn expect_refusals(&self, host: usize, requests: &[Request]) -> Result<(), LabError> {
        let mut caller = Caller::of(self.lab, self.host(host));
        let refused = caller.all_refused(requests).await;
        caller.close().await;
        refused
    }

    /// Ends a hypervisor.
    pub(crate) async fn halt(&self, host: usize) -> Result<(), LabError> {
        self.lab.stop(self.subject(host)).await
    }

    /// Starts a hypervisor whose host was renamed, which it refuses.
    pub(crate) async fn start_renamed(&self, host: usize) -> Result<(), LabError> {
        self.lab.start_renamed(self.side.kind, self.subject(host)).await
    }

    /// Ends a hypervisor and starts it again.
    pub(crate) async fn restart(&self, host: usize) -> Result<(), LabError> {
        let subject = self.subject(host);
        self.lab.stop(subject).await?;
        self.lab.start(self.side.kind, subject).await
    }

    pub(crate) async fn gone(&self, server: &Server) -> Result<(), LabError> {
        let path = format!("/servers/{server}");
        wait(&format!("{}: end of the server", self.name), STATE_WITHIN, async || {
            match self.lab.admin.call(&Call::get("server", Service::Compute, path.as_str())).await {
                Err(error) if error.status() == Some(404) => Ok(Ok(())),
                Err(error) => Err(error.into()),
                Ok(answer) => Ok(Err(format!("{}", answer.json()?["server"]["status"]))),
            }
        })
        .await
    }
}
