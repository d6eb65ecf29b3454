//! What each operation of a plan does on the API.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fake_hv::BuildTimeline;
use scenarios::plan::Operation;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Answer, ApiError, Call, SchedulingLog, Service, Session, Tenants,
    error::groupable,
    phases::moments,
    poller::{Poller, Seen, Wait},
    servers::{Server, Servers},
};

/// What the fleet noted of a build, if there is a fleet that built it.
pub(crate) type TimelineOf = dyn Fn(Uuid) -> Option<BuildTimeline> + Send + Sync;

/// What operations work on.
pub(crate) struct Ground {
    pub(crate) tenants: Tenants,
    pub(crate) servers: Servers,
    pub(crate) poller: Poller,
    pub(crate) scheduling: Option<SchedulingLog>,
    pub(crate) timeline_of: Box<TimelineOf>,
    /// `t = 0` of the run.
    pub(crate) origin: Instant,
}

/// How an operation ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ended {
    /// Why it failed, short enough to group by.
    pub(crate) error: Option<String>,
    /// The server it was about.
    pub(crate) server: Option<String>,
    /// The host of the server.
    pub(crate) host: Option<String>,
    /// Phases, in milliseconds.
    pub(crate) phases_ms: Vec<(String, f64)>,
}

impl Ended {
    fn failed(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }
}

impl From<Result<Answer, ApiError>> for Ended {
    fn from(result: Result<Answer, ApiError>) -> Self {
        Self { error: result.err().map(|error| error.short()), ..Self::default() }
    }
}

/// What is known of an operation that may yet be cut short.
pub(crate) type Progress = std::sync::Mutex<Option<(String, Session)>>;

impl Ground {
    /// Carries out one operation as the user whose turn it is, to its end.
    pub(crate) async fn carry_out(&self, operation: &Operation, name: &str, turn: u64, progress: &Progress) -> Ended {
        let users = &self.tenants.users;
        let user = &users[usize::try_from(turn % users.len() as u64).expect("an index of a list")];
        match operation {
            Operation::Boot { nics } => self.boot(user, name, *nics, progress).await,
            Operation::Delete => self.delete(progress).await,
            Operation::List => user.call(&Call::get("list servers", Service::Compute, "/servers/detail")).await.into(),
            Operation::Show => self.show().await,
            Operation::Token => user.authenticate().await.into(),
        }
    }

    async fn boot(&self, user: &Session, name: &str, nics: u32, progress: &Progress) -> Ended {
        let started = self.origin.elapsed();
        let body = boot_request(&self.tenants, name, nics);
        let accepted = user.call(&Call::post("boot", Service::Compute, "/servers", body)).await;
        let (request, id) = match accepted.and_then(|answer| accepted_boot(&answer)) {
            Ok(boot) => boot,
            Err(error) => return Ended::failed(error.short()),
        };
        let accepted = self.origin.elapsed();
        *progress.lock().expect("no holder of this lock panics") = Some((id.clone(), user.clone()));
        let seen = self.poller.watch(&id, Wait::Built).await;
        let host = Uuid::parse_str(&id).ok().and_then(|id| (self.timeline_of)(id));
        let host_name = host.as_ref().map(|host| host.host.clone());
        let error = match seen {
            Ok(Seen::Active) => None,
            Ok(Seen::Error) => Some(fault_of(user, &id).await),
            Ok(Seen::Gone) => Some("deleted while it was built".to_owned()),
            Err(_) => Some("the poller has ended".to_owned()),
        };
        let mut phases = Vec::new();
        if error.is_none() {
            let scheduling = self.scheduling.as_ref().zip(request).and_then(|(log, request)| log.take(&request));
            phases = moments(started, accepted, scheduling, host).phases_ms();
            self.servers.add(Server { id: id.clone(), owner: user.clone(), host: host_name.clone() });
        }
        Ended { error, server: Some(id), host: host_name, phases_ms: phases }
    }

    async fn delete(&self, progress: &Progress) -> Ended {
        let Some(Server { id, owner, host }) = self.servers.take_oldest() else {
            return Ended::failed("no server of the run is ACTIVE");
        };
        *progress.lock().expect("no holder of this lock panics") = Some((id.clone(), owner.clone()));
        // Before the request: it may be gone before the answer has come.
        let gone = self.poller.watch(&id, Wait::Gone);
        let error = match owner.call(&Call::delete("delete", Service::Compute, format!("/servers/{id}"))).await {
            Err(error) => Some(error.short()),
            Ok(_) => match gone.await {
                Ok(Seen::Error) => Some(fault_of(&owner, &id).await),
                Ok(_) => None,
                Err(_) => Some("the poller has ended".to_owned()),
            },
        };
        Ended { error, server: Some(id), host, phases_ms: Vec::new() }
    }

    async fn show(&self) -> Ended {
        let Some(Server { id, owner, host }) = self.servers.next() else {
            return Ended::failed("no server of the run is ACTIVE");
        };
        let result = owner.call(&Call::get("show", Service::Compute, format!("/servers/{id}"))).await;
        Ended { server: Some(id), host, ..Ended::from(result) }
    }
}

/// How long a look at a server may take that is only to explain what became of it.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// In which state an operation was cut short, by one look at its server.
pub(crate) async fn state_of(progress: &Arc<Progress>) -> Option<(String, String)> {
    let (id, owner) = progress.lock().expect("no holder of this lock panics").clone()?;
    let call = Call::get("look", Service::Compute, format!("/servers/{id}"));
    let state = match tokio::time::timeout(LOOK_WITHIN, owner.call(&call)).await {
        Ok(Ok(answer)) => answer.json().map_or_else(|_| "unknown".to_owned(), |server| state_in(&server)),
        Ok(Err(error)) if error.status() == Some(404) => "gone".to_owned(),
        Ok(Err(_)) | Err(_) => "unknown".to_owned(),
    };
    Some((id, state))
}

/// `BUILD (spawning)`.
fn state_in(document: &Value) -> String {
    let server = &document["server"];
    let status = server["status"].as_str().unwrap_or("unknown");
    match server["OS-EXT-STS:task_state"].as_str() {
        Some(task) => format!("{status} ({task})"),
        None => status.to_owned(),
    }
}

fn boot_request(tenants: &Tenants, name: &str, nics: u32) -> Value {
    let networks = match &tenants.network {
        Some(network) if nics > 0 => json!(vec![json!({"uuid": network}); nics as usize]),
        _ => json!("none"),
    };
    json!({"server": {
        "name": name,
        "imageRef": tenants.image,
        "flavorRef": tenants.flavor,
        "networks": networks,
    }})
}

/// Request id and server of an accepted boot.
fn accepted_boot(answer: &Answer) -> Result<(Option<String>, String), ApiError> {
    let request = answer.header("X-OpenStack-Request-Id").map(str::to_owned);
    Ok((request, answer.text_at("/server/id")?))
}

async fn fault_of(user: &Session, id: &str) -> String {
    let call = Call::get("look", Service::Compute, format!("/servers/{id}"));
    let message = user.call(&call).await.and_then(|answer| answer.text_at("/server/fault/message"));
    format!("ERROR: {}", message.map_or_else(|_| "without a fault".to_owned(), |message| groupable(&message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RunName;

    fn tenants(network: Option<&str>) -> Tenants {
        Tenants {
            run: RunName::generate(),
            users: Vec::new(),
            nova_service: None,
            network: network.map(str::to_owned),
            image: "i".to_owned(),
            flavor: "f".to_owned(),
        }
    }

    #[test]
    fn a_boot_asks_for_its_nics_or_says_that_it_wants_none() {
        let request = boot_request(&tenants(Some("net")), "vm", 2);
        assert_eq!(request["server"]["networks"], json!([{"uuid": "net"}, {"uuid": "net"}]));
        assert_eq!(boot_request(&tenants(None), "vm", 0)["server"]["networks"], "none");
    }

    #[test]
    fn a_state_says_what_the_server_was_at() {
        let building = json!({"server": {"status": "BUILD", "OS-EXT-STS:task_state": "spawning"}});
        assert_eq!(state_in(&building), "BUILD (spawning)");
        assert_eq!(state_in(&json!({"server": {"status": "ACTIVE", "OS-EXT-STS:task_state": null}})), "ACTIVE");
    }
}
