//! The steps that are small.

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use scenarios::{Schedule, options::service_down_time, plan::Operation};
use serde_json::json;

use super::{
    Keep, LiveError, Phase, Run, Status,
    records::{self, KnownServer},
    reference, tidy,
};
use crate::{
    Kept, KeptUser,
    load::{
        Call, Loader, LoaderSpec, Login, SchedulingLog, Server, Servers, Service, Session, Tally, Tenants, TenantsMade,
        TenantsSpec, User,
    },
    watch::{Link, Watch},
};

/// The physical network of the harness's own cloud.
const PHYSICAL_NETWORK: &str = "physnet1";
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// File of the run folder with the ids of what was made, for people who look while it runs or after it was killed.
const CREATED_FILE: &str = "created.json";

impl Run<'_> {
    /// A phase begins.
    pub(super) fn phase(&self, phase: Phase, text: &str) {
        self.scribe.event("phase", phase.name());
        self.tell.phase(phase, text);
    }

    /// A step, which a wish to stop ends.
    pub(super) async fn unless_cancelled<T>(
        &self,
        step: impl Future<Output = Result<T, LiveError>>,
    ) -> Result<T, LiveError> {
        tokio::select! {
            result = step => result,
            () = self.cancel.cancelled() => Err(LiveError::Interrupted),
        }
    }

    /// All samplers that this cloud allows.
    pub(super) fn watch(&self) -> Watch {
        let mut watch = Watch::new(self.scribe.clone());
        watch.fleet(self.fleet.clone());
        let own = self.target.own.as_ref();
        let processes = own.map(|cloud| cloud.processes.clone()).unwrap_or_default();
        watch.processes(processes, self.real.clone(), self.fleet.clone());
        let Some(cloud) = own else {
            watch.services(self.admin.clone(), self.name.clone(), self.fleet.clone());
            return watch;
        };
        watch.broker(&cloud.broker_metrics_urls);
        watch.database(&cloud.database);
        let down_time = service_down_time(&self.plan.release, &self.plan.tuning);
        let hosts = (self.name.clone(), self.plan.fleet.hypervisors);
        watch.heartbeats(&cloud.database, down_time, hosts, self.fleet.clone());
        watch
    }

    /// Removes what earlier runs left, then makes what this one needs.
    pub(super) async fn make_tenants(&self) -> Result<Tenants, LiveError> {
        reference::stop_left(self).await?;
        if let Some(kept) = self.kept() {
            self.wake_network().await?;
            self.note_more_hosts(kept)?;
            return Ok(self.known_tenants(kept));
        }
        tidy::leftovers(self).await?;
        let spec = TenantsSpec {
            projects: self.plan.tenants.projects,
            users: self.plan.tenants.users,
            ports: self.ports(),
            service_user: self.target.nova_service.is_none(),
            physical_network: self.target.own.is_some().then_some(PHYSICAL_NETWORK),
            image: self.plan.tenants.image.clone(),
        };
        let step = LiveError::api("make projects, users, network, image and flavor");
        let made = TenantsMade::default();
        let create = Tenants::create(&self.admin, &self.name, spec, &made);
        let tenants = self.telling(|since| self.tenants_made(&made, since), create).await.map_err(step)?;
        self.note_created(&tenants)?;
        if let Some(keep) = self.keep {
            self.note_kept(keep, &tenants)?;
        }
        Ok(tenants)
    }

    fn tenants_made(&self, made: &TenantsMade, since: Duration) -> Status {
        let (projects, users) = (made.projects.load(Ordering::Relaxed), made.users.load(Ordering::Relaxed));
        let asked = &self.plan.tenants;
        let text = format!("{projects} of {} projects and {users} of {} users made", asked.projects, asked.users);
        let (done, total) = (u64::from(projects + users), u64::from(asked.projects + asked.users));
        Status { phase: Phase::Tenants, done, total: Some(total), text, since, planned_left: None }
    }

    /// What an earlier run left for this one.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.keep.and_then(|keep| keep.kept.as_ref())
    }

    /// Of the first requests of a Neutron that was just started all but one are refused, or see nothing (see `Tenants`): each of
    /// its processes gets one alone, before the users come.
    async fn wake_network(&self) -> Result<(), LiveError> {
        let processes = self.plan.cloud.wsgi.get("neutron").map_or(1, |wsgi| wsgi.processes);
        for _ in 0..2 * processes {
            let networks = Call::get("list networks", Service::Network, "/networks?fields=id");
            self.admin.call(&networks).await.map_err(LiveError::api("wake Neutron"))?;
        }
        Ok(())
    }

    /// Users that are there already; each logs in when it first does something.
    fn known_tenants(&self, kept: &Kept) -> Tenants {
        let login = |user: &KeptUser| Login::in_default_domain(&user.name, &user.password, &user.project);
        let users = kept
            .users_for(&self.plan.tenants)
            .into_iter()
            .map(|user| User { id: user.id.clone(), session: self.admin.as_user(login(user)) });
        Tenants {
            run: kept.run.clone(),
            users: users.collect(),
            nova_service: None,
            network: kept.network.clone(),
            image: kept.image.clone(),
            flavors: kept.flavors.clone(),
        }
    }

    /// A run may ask for more hypervisors than were left, and leaves them too.
    fn note_more_hosts(&self, kept: &Kept) -> Result<(), LiveError> {
        let Some(keep) = self.keep.filter(|_| self.plan.fleet.hypervisors > kept.fleet.hypervisors) else {
            return Ok(());
        };
        let kept = Kept { fleet: self.plan.fleet.clone(), ..kept.clone() };
        kept.save(&keep.state).map_err(|error| LiveError::Kept(error.to_string()))
    }

    fn note_kept(&self, keep: &Keep, tenants: &Tenants) -> Result<(), LiveError> {
        let user = |User { id, session }: &User| {
            let Login { user, password, project, .. } = session.login();
            KeptUser { id: id.clone(), name: user.clone(), password: password.clone(), project: project.clone() }
        };
        let kept = Kept {
            run: self.name.clone(),
            seed: self.plan.seed,
            fleet: self.plan.fleet.clone(),
            tenants: self.plan.tenants.clone(),
            users: tenants.users.iter().map(user).collect(),
            network: tenants.network.clone(),
            image: tenants.image.clone(),
            flavors: tenants.flavors.clone(),
        };
        kept.save(&keep.state).map_err(|error| LiveError::Kept(error.to_string()))
    }

    /// The servers that an earlier run left, for the operations that need one.
    pub(super) async fn servers(&self, tenants: &Tenants) -> Result<Servers, LiveError> {
        let servers = Servers::default();
        let Some((_, cloud)) = self.kept().zip(self.target.own.as_ref()) else { return Ok(servers) };
        let known = records::servers(&mut Link::new(&cloud.database), &self.name, self.plan.fleet.hypervisors)
            .await
            .map_err(LiveError::Kept)?;
        let users: BTreeMap<&str, &Session> = tenants.users.iter().map(|user| (&*user.id, &user.session)).collect();
        for server in known.into_iter().filter(|server| server.active) {
            if let Some(owner) = users.get(&*server.user) {
                let KnownServer { id, host, large, .. } = server;
                servers.add(Server { id, owner: (*owner).clone(), host: Some(host), large });
            }
        }
        Ok(servers)
    }

    /// Ports that the boots of the plan may make. A closed loop that ends by time gets room for many.
    fn ports(&self) -> u64 {
        const UNKNOWN: u64 = 30_000;
        let ports = self.plan.load.iter().filter_map(|load| match load.operation {
            Operation::Boot { nics, .. } => {
                Some(load.operations(self.plan.seed).unwrap_or(UNKNOWN).saturating_mul(nics.into()))
            }
            _ => None,
        });
        ports.fold(0, u64::saturating_add)
    }

    fn note_created(&self, tenants: &Tenants) -> Result<(), LiveError> {
        let users: Vec<_> = tenants.users.iter().map(|user| &user.session.login().user).collect();
        let projects: std::collections::BTreeSet<_> =
            tenants.users.iter().map(|user| &user.session.login().project).collect();
        let created = json!({
            "run": self.name.as_str(), "projects": projects, "users": users,
            "network": tenants.network, "image": tenants.image, "flavors": tenants.flavors,
        });
        let path = self.scribe.recorder().path().join(CREATED_FILE);
        let text = format!("{created:#}\n");
        fs::write(&path, text).map_err(|source| LiveError::File { path: path.display().to_string(), source })
    }

    /// The streams begin, now.
    pub(super) fn begin_load(&self, tenants: Tenants, servers: Servers) -> Loader {
        let conductor = self.target.own.iter().flat_map(|cloud| &cloud.processes);
        let conductor = conductor.filter(|process| process.name == "nova-conductor").map(|process| &process.log_path);
        let fleet = self.fleet.clone();
        let spec = LoaderSpec {
            tenants,
            servers,
            admin: self.admin.clone(),
            recorder: self.scribe.recorder().clone(),
            origin: self.scribe.origin(),
            scheduling: conductor.map(|path| SchedulingLog::new(path)).next(),
            timeline_of: Box::new(move |server, to_its_end| {
                fleet.with(|fleet| fleet.take_build_timeline(server, to_its_end)).flatten()
            }),
        };
        Loader::start(self.plan, spec)
    }

    /// Waits until every operation has been started.
    pub(super) async fn load(&self, loader: &mut Loader) -> Result<(), LiveError> {
        let started = async {
            loader.all_started().await;
            Ok(())
        };
        self.unless_cancelled(started).await
    }

    /// A step, while its progress is told.
    pub(super) async fn showing<T>(
        &self,
        phase: Phase,
        tally: &(dyn Fn() -> Tally + Send + Sync),
        step: impl Future<Output = T>,
    ) -> T {
        let schedule = if phase == Phase::Load { Schedule::of(self.plan) } else { None };
        self.telling(|since| status(phase, tally(), since, schedule.as_ref()), step).await
    }

    /// A step, while it is told how far it is.
    pub(super) async fn telling<T>(&self, status: impl Fn(Duration) -> Status, step: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let tell = async {
            loop {
                tokio::time::sleep(TELL_EVERY).await;
                self.tell.status(&status(begun.elapsed()));
            }
        };
        tokio::select! {
            result = step => result,
            () = tell => unreachable!("it tells for ever"),
        }
    }
}

fn status(phase: Phase, tally: Tally, since: Duration, schedule: Option<&Schedule>) -> Status {
    let Tally { started, ended, failed, intended } = tally;
    let of = intended.map(|intended| format!(" of {intended}")).unwrap_or_default();
    let text =
        format!("{started}{of} operations started, {} under way, {failed} failed", started.saturating_sub(ended));
    let planned_left = schedule.map(|schedule| schedule.left(started, since));
    Status { phase, done: ended, total: intended, text, since, planned_left }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_what_has_ended() {
        let tally = Tally { started: 40, ended: 30, failed: 2, intended: Some(100) };
        let status = status(Phase::Load, tally, Duration::from_secs(30), None);
        assert_eq!(status.text, "40 of 100 operations started, 10 under way, 2 failed");
        assert_eq!((status.done, status.total), (30, Some(100)));
    }
}
