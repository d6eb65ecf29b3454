//! One kind of hypervisors: started, warmed up, left alone, loaded, and the cloud's counters read in between.

use std::time::Duration;

use control_plane::{
    load::{Call, Login, Service, Session},
    process::procfs,
    watch::global_status,
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    Figures, Group, Key, LoadPlan,
    ballast::{Appetite, Ballast},
    equivalence::Measured,
    pace::Pace,
};
use crate::lab::{Lab, LabError, wait};

/// Time from one start to the next: that of an unmodified nova-compute, which takes some seconds of CPU, so that both kinds have
/// the same phases to one another.
const START_EVERY: Duration = Duration::from_secs(5);
/// Nothing is asked of the cloud for so long before the first window: what the warm-up set off has come to its end.
const QUIET: Duration = Duration::from_secs(60);
/// Boots, and then deletes, at their intended times: half of what a machine of two cores is full with.
pub(super) const BOOTS_PER_S: f64 = 0.5;
/// After the last boot or delete nobody looks for so long, so that the harness asks the same of the cloud with both kinds.
const SETTLE: Duration = Duration::from_secs(20);
/// How long boots may take on top.
const DONE_WITHIN: Duration = Duration::from_secs(300);

/// Counters of MariaDB.
const STATEMENTS: [&str; 6] = ["Com_select", "Com_insert", "Com_update", "Com_delete", "Com_commit", "Questions"];

/// Starts the hypervisors of the lab's only side, and measures both windows; with a ballast beside them for what others took in
/// theirs.
pub(super) async fn measure(
    lab: &mut Lab,
    plan: &LoadPlan,
    beside: Option<&[Measured]>,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Measured>, LabError> {
    say(&format!("starting {} hypervisors ...", plan.hosts));
    start_all(lab).await?;
    lab.make_zone(0).await?;
    say("warming up, and waiting for quiet ...");
    let booter = without_quota(lab).await?;
    churn(lab, &booter, "warm", plan.hosts).await?;
    tokio::time::sleep(QUIET).await;

    say(&format!("idle for {} s ...", plan.idle.as_secs()));
    let idle = window(lab, "idle", beside, async {
        tokio::time::sleep(plan.idle).await;
        Ok(Figures::new())
    });
    let idle = idle.await?;
    say(&format!("{} boots and deletes ...", plan.boots));
    let loaded = window(lab, "boots and deletes", beside, churn(lab, &booter, "vm", plan.boots)).await?;
    Ok(vec![idle, loaded])
}

/// The administrator in the run's own project, which has no quotas; only an administrator may choose hosts.
async fn without_quota(lab: &Lab) -> Result<Session, LabError> {
    let id_of = async |path: String, at: &str| {
        let found = lab.admin.call(&Call::get("find", Service::Identity, path)).await?;
        found.text_at(at).map_err(LabError::from)
    };
    let login = Login { project: lab.tenants.users[0].session.login().project.clone(), ..lab.admin.login().clone() };
    let user = id_of(format!("/users?name={}", login.user), "/users/0/id").await?;
    let role = id_of("/roles?name=admin".to_owned(), "/roles/0/id").await?;
    let project = id_of(format!("/projects?name={}", login.project), "/projects/0/id").await?;
    // It goes with the project.
    let path = format!("/projects/{project}/users/{user}/roles/{role}");
    lab.admin.call(&Call::put("assign role", Service::Identity, path, json!({}))).await?;
    Ok(lab.admin.as_user(login))
}

async fn start_all(lab: &Lab) -> Result<(), LabError> {
    let side = &lab.sides[0];
    let starts = (0_u32..).zip(&side.subjects).map(|(place, subject)| async move {
        tokio::time::sleep(START_EVERY * place).await;
        lab.start(side.kind, subject).await
    });
    // All of them, so that an error is that of a host and not of one that was abandoned because of it.
    futures_util::future::join_all(starts).await.into_iter().collect()
}

/// What the counters grew by while something was done; what it gives itself is added.
async fn window(
    lab: &Lab,
    name: &'static str,
    beside: Option<&[Measured]>,
    done: impl Future<Output = Result<Figures, LabError>>,
) -> Result<Measured, LabError> {
    let appetite = beside.and_then(|windows| Some(Appetite::of(windows.first()?, windows.last()?)));
    let ballast = beside.zip(appetite).map(|(windows, appetite)| ballast(lab, windows, appetite));
    let pace = Pace::start(&lab.cloud.venv.join("bin/python"))?;
    let (own_before, before, begun) = (own_cpu_s(lab).await, sample(lab).await?, Instant::now());
    let outcome = done.await?;
    let (own_after, after, took) = (own_cpu_s(lab).await, sample(lab).await?, begun.elapsed());
    let ballast_cpu_s = ballast.map_or(0.0, Ballast::finish);
    let pace_cpu_s = pace.finish().await?;
    let mut figures = growth(&before, &after);
    figures.extend(outcome);
    let own_cpu_s = own_after - own_before + ballast_cpu_s;
    let mut measured = Measured { figures, own_cpu_s, pace_cpu_s, ..Measured::empty(name, took) };
    measured.planned_cpu_s = appetite.map_or(own_cpu_s, |appetite| appetite.cpu_s(took, measured.requests()));
    Ok(measured)
}

/// Takes what the hypervisors of these windows would take for what those of the lab ask for.
fn ballast(lab: &Lab, windows: &[Measured], appetite: Appetite) -> Ballast {
    let counters: Vec<_> = lab.sides[0].subjects.iter().map(|subject| subject.tap.requests()).collect();
    let threads = windows.iter().map(Measured::own_cores).fold(1.0, f64::max).ceil();
    Ballast::start(appetite, threads as usize, move || counters.iter().map(|requests| requests()).sum())
}

/// CPU of the real nova-computes so far.
async fn own_cpu_s(lab: &Lab) -> f64 {
    let usage = procfs::usage(&lab.real_processes().await);
    usage.values().map(|usage| usage.cpu_s).sum()
}

/// All counters at this moment.
async fn sample(lab: &Lab) -> Result<Figures, LabError> {
    let mut figures = Figures::new();
    let taps = lab.sides[0].subjects.iter().map(|subject| &subject.tap).chain(&lab.agents_tap);
    for (key, value) in taps.flat_map(|tap| tap.figures()) {
        *figures.entry(key).or_default() += value;
    }
    for (process, usage) in procfs::usage(&lab.cloud.processes) {
        *figures.entry(Key::new(Group::Cpu, service(&process))).or_default() += usage.cpu_s;
    }
    let statements = global_status(&lab.cloud.database, &STATEMENTS).await.map_err(std::io::Error::other)?;
    figures.extend(statements.into_iter().map(|(name, count)| (Key::new(Group::Database, name), count)));
    Ok(figures)
}

fn growth(before: &Figures, after: &Figures) -> Figures {
    let grown = after.iter().map(|(key, value)| (key.clone(), value - before.get(key).copied().unwrap_or_default()));
    grown.filter(|(_, by)| *by > 0.0).collect()
}

/// `neutron-api-2` is one of the processes of `neutron-api`.
fn service(process: &str) -> &str {
    let numbered = process.rsplit_once('-').filter(|(_, last)| last.bytes().all(|byte| byte.is_ascii_digit()));
    numbered.map_or(process, |(service, _)| service)
}

/// Boots servers, one host after another, waits until they run, and deletes them.
async fn churn(lab: &Lab, booter: &Session, name: &str, servers: u32) -> Result<Figures, LabError> {
    let boots = (0..servers).map(|number| boot(lab, booter, name, number));
    let booted: Vec<String> = at_their_times(boots).await?;
    tokio::time::sleep(SETTLE).await;
    let active = wait("boots", DONE_WITHIN, async || {
        let states = states(lab, &booted).await?;
        let under_way = states.iter().filter(|state| !["ACTIVE", "ERROR"].contains(&state.as_str())).count();
        let active = states.iter().filter(|state| *state == "ACTIVE").count();
        Ok(if under_way == 0 { Ok(active) } else { Err(format!("{under_way} servers are being built")) })
    });
    let active = active.await?;
    let deletes = booted.iter().map(|id| {
        let path = format!("/servers/{id}");
        let admin = lab.admin.clone();
        async move { admin.delete("delete", Service::Compute, path).await.map_err(LabError::from) }
    });
    at_their_times(deletes).await?;
    tokio::time::sleep(SETTLE).await;
    wait("deletes", DONE_WITHIN, async || {
        let left = states(lab, &booted).await?.len();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} servers are there")) })
    })
    .await?;
    let of = |name: &str, count: usize| (Key::new(Group::Servers, name), count as f64);
    Ok(Figures::from([of("booted", booted.len()), of("ACTIVE", active)]))
}

/// Carries requests out at a fixed rate, however long each takes.
async fn at_their_times<T: Send + 'static>(
    requests: impl Iterator<Item = impl Future<Output = Result<T, LabError>> + Send + 'static>,
) -> Result<Vec<T>, LabError> {
    let begun = Instant::now();
    let mut under_way = JoinSet::new();
    for (place, request) in (0_u32..).zip(requests) {
        tokio::time::sleep_until(begun + Duration::from_secs_f64(f64::from(place) / BOOTS_PER_S)).await;
        under_way.spawn(request);
    }
    under_way.join_all().await.into_iter().collect()
}

fn boot(
    lab: &Lab,
    booter: &Session,
    name: &str,
    number: u32,
) -> impl Future<Output = Result<String, LabError>> + Send + use<> {
    let (side, tenants) = (&lab.sides[0], &lab.tenants);
    let host = &side.subjects[number as usize % side.subjects.len()].host;
    let body = json!({"server": {
        "name": tenants.run.numbered(name, number), "imageRef": tenants.image, "flavorRef": tenants.flavors[0],
        "networks": [{"uuid": lab.networks[0]}], "availability_zone": format!("{}:{host}", side.zone),
    }});
    let booter = booter.clone();
    async move {
        let made = booter.call(&Call::post("boot", Service::Compute, "/servers", body)).await?.json()?;
        Ok(made["server"]["id"].as_str().unwrap_or_default().to_owned())
    }
}

/// Where these servers are; those that are gone are left out.
async fn states(lab: &Lab, servers: &[String]) -> Result<Vec<String>, LabError> {
    let found = lab.admin.list("list", Service::Compute, "/servers/detail?all_tenants=1", "servers").await?;
    let ours = found.iter().filter(|server| server["id"].as_str().is_some_and(|id| servers.iter().any(|it| it == id)));
    Ok(ours.map(|server| server["status"].as_str().unwrap_or_default().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_service_count_together() {
        assert_eq!(
            ["neutron-api-2", "nova-conductor", "placement"].map(service),
            ["neutron-api", "nova-conductor", "placement"]
        );
    }

    #[test]
    fn figures_grow_and_those_that_do_not_are_none() {
        let key = |name: &str| Key::new(Group::Http, name);
        let before = Figures::from([(key("a"), 1.0), (key("b"), 2.0)]);
        let after = Figures::from([(key("a"), 1.0), (key("b"), 5.0), (key("c"), 4.0)]);
        assert_eq!(growth(&before, &after), Figures::from([(key("b"), 3.0), (key("c"), 4.0)]));
    }
}
