//! What each operation of a plan does on the API.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use fake_hv::BuildTimeline;
use recording::millis;
use scenarios::plan::Operation;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Answer, ApiError, Call, SchedulingLog, Service, Session, Tenants,
    error::groupable,
    phases::moments,
    poller::{Poller, Seen, Wait},
    servers::{Server, Servers},
};

/// What the fleet noted of a build, if there is a fleet that built it; `true`: only when it has noted its end.
pub type TimelineOf = dyn Fn(Uuid, bool) -> Option<BuildTimeline> + Send + Sync;

/// How often a fleet is asked for the end of a build, which it notes when the conductor has answered it.
const LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(50);

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

/// An operation under way, which may yet be cut short.
#[derive(Debug, Default)]
pub(crate) struct Attempt(Mutex<AttemptState>);

#[derive(Debug, Default)]
struct AttemptState {
    /// The server that it is about, and whose it is.
    server: Option<(String, Session)>,
    ended: Option<(Instant, Ended)>,
}

impl Attempt {
    fn is_about(&self, server: &str, owner: &Session) {
        self.with(|state| state.server = Some((server.to_owned(), owner.clone())));
    }

    pub(crate) fn end(&self, ended: Ended) {
        self.end_at(Instant::now(), ended);
    }

    fn end_at(&self, at: Instant, ended: Ended) {
        self.with(|state| state.ended = Some((at, ended)));
    }

    /// When and how it ended, if it has.
    pub(crate) fn take(&self) -> Option<(Instant, Ended)> {
        self.with(|state| state.ended.take())
    }

    fn with<T>(&self, act: impl FnOnce(&mut AttemptState) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A boot request that was accepted.
struct Accepted {
    /// When it was sent and answered, since `t = 0`.
    sent: Duration,
    at: Duration,
    /// Its id, by which the conductor logs it.
    request: Option<String>,
}

impl Ground {
    /// Carries out operations that go in one request, as the user whose turn it is, to their end.
    pub(crate) async fn carry_out(&self, operation: &Operation, name: &str, turn: u64, attempts: &[Attempt]) {
        let users = &self.tenants.users;
        let user = &users[usize::try_from(turn % users.len() as u64).expect("an index of a list")].session;
        if let Operation::Boot { nics, .. } = operation {
            return self.boot(user, name, *nics, attempts).await;
        }
        let [attempt] = attempts else { unreachable!("only boots come in batches") };
        let list = Call::get("list servers", Service::Compute, "/servers/detail");
        let ended = match operation {
            Operation::List => user.call(&list).await.into(),
            Operation::Token => user.authenticate().await.into(),
            Operation::Show => self.show().await,
            Operation::Delete => self.delete(attempt).await,
            Operation::StopStart => self.stop_start(attempt).await,
            Operation::Resize => self.resize(attempt).await,
            Operation::Boot { .. } => unreachable!("it was dealt with above"),
        };
        attempt.end(ended);
    }

    async fn boot(&self, user: &Session, name: &str, nics: u32, attempts: &[Attempt]) {
        let sent = self.origin.elapsed();
        let body = boot_request(&self.tenants, name, nics, attempts.len());
        let answer = user.call(&Call::post("boot", Service::Compute, "/servers", body)).await;
        let at = self.origin.elapsed();
        let request =
            answer.as_ref().ok().and_then(|answer| answer.header("X-OpenStack-Request-Id").map(str::to_owned));
        let servers = match answer {
            Ok(answer) => self.accepted(user, &answer, attempts.len()).await,
            Err(error) => Err(error),
        };
        let servers = match servers {
            Ok(servers) => servers,
            Err(error) => return attempts.iter().for_each(|attempt| attempt.end(Ended::failed(error.short()))),
        };
        let accepted = Accepted { sent, at, request };
        let waits = attempts.iter().zip(&servers).map(|(attempt, id)| self.wait_for_boot(user, id, &accepted, attempt));
        futures_util::future::join_all(waits).await;
    }

    /// The servers of a boot request. That of many answers with the name of the reservation only.
    async fn accepted(&self, user: &Session, answer: &Answer, count: usize) -> Result<Vec<String>, ApiError> {
        if count == 1 {
            return Ok(vec![answer.text_at("/server/id")?]);
        }
        let path = format!("/servers?reservation_id={}", answer.text_at("/reservation_id")?);
        let servers = user.list("list reservation", Service::Compute, &path, "servers").await?;
        let ids: Vec<String> = servers.iter().filter_map(|server| server["id"].as_str().map(str::to_owned)).collect();
        if ids.len() == count { Ok(ids) } else { Err(answer.without(format!("{count} servers, but {}", ids.len()))) }
    }

    async fn wait_for_boot(&self, user: &Session, id: &str, accepted: &Accepted, attempt: &Attempt) {
        attempt.is_about(id, user);
        let seen = self.poller.watch(id, Wait::Active).await;
        let at = Instant::now();
        let error = self.unless(user, id, seen, Seen::Active).await;
        let is_active = error.is_none();
        let ended = Ended { error, server: Some(id.to_owned()), ..Ended::default() };
        // It has ended, even if the run does before it is known where its time went.
        attempt.end_at(at, ended.clone());
        let host = self.timeline(id, is_active).await;
        let host_name = host.as_ref().map(|host| host.host.clone());
        let mut phases = Vec::new();
        if is_active {
            let log = self.scheduling.as_ref().zip(accepted.request.as_ref());
            let scheduling = log.and_then(|(log, request)| log.look(request));
            phases = moments(accepted.sent, accepted.at, scheduling, host).phases_ms();
            let server = Server { id: id.to_owned(), owner: user.clone(), host: host_name.clone(), large: false };
            self.servers.add(server);
        }
        attempt.end_at(at, Ended { host: host_name, phases_ms: phases, ..ended });
    }

    /// What the fleet noted of a build, to its end if that is about to come.
    async fn timeline(&self, server: &str, ends: bool) -> Option<BuildTimeline> {
        let server = Uuid::parse_str(server).ok()?;
        for _ in 0..if ends { LOOKS } else { 0 } {
            if let Some(whole) = (self.timeline_of)(server, true) {
                return Some(whole);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        (self.timeline_of)(server, false)
    }

    /// Why a server did not become what was waited for.
    async fn unless(
        &self,
        owner: &Session,
        id: &str,
        seen: Result<Seen, oneshot::error::RecvError>,
        goal: Seen,
    ) -> Option<String> {
        match seen {
            Ok(seen) if seen == goal => None,
            Ok(Seen::Gone) => Some("deleted meanwhile".to_owned()),
            Ok(_) => Some(fault_of(owner, id).await),
            Err(_) => Some("the poller has ended".to_owned()),
        }
    }

    async fn delete(&self, attempt: &Attempt) -> Ended {
        let Some(Server { id, owner, host, .. }) = self.servers.take_oldest() else { return none_is_active() };
        attempt.is_about(&id, &owner);
        // Before the request: it may be gone before the answer has come.
        let gone = self.poller.watch(&id, Wait::Gone);
        let error = match owner.call(&Call::delete("delete", Service::Compute, format!("/servers/{id}"))).await {
            Err(error) => Some(error.short()),
            Ok(_) => self.unless(&owner, &id, gone.await, Seen::Gone).await,
        };
        Ended { error, server: Some(id), host, phases_ms: Vec::new() }
    }

    async fn show(&self) -> Ended {
        let Some(Server { id, owner, host, .. }) = self.servers.next() else { return none_is_active() };
        let result = owner.call(&Call::get("show", Service::Compute, format!("/servers/{id}"))).await;
        Ended { server: Some(id), host, ..Ended::from(result) }
    }

    async fn stop_start(&self, attempt: &Attempt) -> Ended {
        let steps = [
            Step { name: "stop", action: json!({"os-stop": null}), wait: Wait::Shutoff },
            Step { name: "start", action: json!({"os-start": null}), wait: Wait::Active },
        ];
        self.change(attempt, |_| steps, |_| {}).await
    }

    async fn resize(&self, attempt: &Attempt) -> Ended {
        let steps = |server: &Server| {
            let flavor = &self.tenants.flavors[usize::from(!server.large)];
            [
                Step { name: "resize", action: json!({"resize": {"flavorRef": flavor}}), wait: Wait::Resized },
                Step { name: "confirm", action: json!({"confirmResize": null}), wait: Wait::Active },
            ]
        };
        let resized = |server: &mut Server| {
            server.large = !server.large;
            server.host = None;
        };
        self.change(attempt, steps, resized).await
    }

    /// Takes a server that nobody else works on through some steps, each of which takes as long as one phase.
    async fn change(
        &self,
        attempt: &Attempt,
        steps: impl FnOnce(&Server) -> [Step; 2],
        changed: impl FnOnce(&mut Server),
    ) -> Ended {
        let Some(mut server) = self.servers.take_youngest() else { return none_is_active() };
        attempt.is_about(&server.id, &server.owner);
        let mut ended = Ended { server: Some(server.id.clone()), host: server.host.clone(), ..Ended::default() };
        for Step { name, action, wait } in steps(&server) {
            let begun = Instant::now();
            let seen = self.poller.watch(&server.id, wait);
            let path = format!("/servers/{}/action", server.id);
            if let Err(error) = server.owner.call(&Call::post(name, Service::Compute, path, action)).await {
                ended.error = Some(format!("{name}: {}", error.short()));
                return ended;
            }
            let failure = self.unless(&server.owner, &server.id, seen.await, wait.goal()).await;
            ended.phases_ms.push((name.to_owned(), millis(begun.elapsed())));
            if let Some(failure) = failure {
                ended.error = Some(format!("{name}: {failure}"));
                return ended;
            }
        }
        changed(&mut server);
        self.servers.add_oldest(server);
        ended
    }
}

/// A request about a server, and what is waited for after it.
struct Step {
    name: &'static str,
    action: Value,
    wait: Wait,
}

fn none_is_active() -> Ended {
    Ended::failed("no server of the run is ACTIVE")
}

/// How long a look at a server may take that is only to explain what became of it.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// In which state an operation was cut short, by one look at its server.
pub(crate) async fn state_of(attempt: &Attempt) -> Option<(String, String)> {
    let (id, owner) = attempt.with(|state| state.server.clone())?;
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

fn boot_request(tenants: &Tenants, name: &str, nics: u32, count: usize) -> Value {
    let networks = match &tenants.network {
        Some(network) if nics > 0 => json!(vec![json!({"uuid": network}); nics as usize]),
        _ => json!("none"),
    };
    let mut request = json!({"server": {
        "name": name,
        "imageRef": tenants.image,
        "flavorRef": tenants.flavors[0],
        "networks": networks,
    }});
    if count > 1 {
        let server = &mut request["server"];
        server["min_count"] = count.into();
        server["max_count"] = count.into();
        server["return_reservation_id"] = true.into();
    }
    request
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
            flavors: ["f", "l"].map(str::to_owned),
        }
    }

    #[test]
    fn a_boot_asks_for_its_nics_or_says_that_it_wants_none() {
        let request = boot_request(&tenants(Some("net")), "vm", 2, 1);
        assert_eq!(request["server"]["networks"], json!([{"uuid": "net"}, {"uuid": "net"}]));
        assert_eq!(boot_request(&tenants(None), "vm", 0, 1)["server"]["networks"], "none");
    }

    #[test]
    fn many_servers_are_asked_for_at_once() {
        let server = &boot_request(&tenants(None), "vm", 0, 50)["server"];
        assert_eq!((&server["min_count"], &server["max_count"]), (&json!(50), &json!(50)));
        assert_eq!(server["return_reservation_id"], true);
    }

    #[test]
    fn a_state_says_what_the_server_was_at() {
        let building = json!({"server": {"status": "BUILD", "OS-EXT-STS:task_state": "spawning"}});
        assert_eq!(state_in(&building), "BUILD (spawning)");
        assert_eq!(state_in(&json!({"server": {"status": "ACTIVE", "OS-EXT-STS:task_state": null}})), "ACTIVE");
    }
}
