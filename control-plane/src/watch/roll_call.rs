//! Which hypervisors of a run Nova takes for up, and which of them it can use.
//!
//! On the harness's own cloud from Nova's records in the database: its API makes an object of each host for every list, and what
//! it costs to ask about thousands would be part of what is measured. A cloud of others is asked by its API.

use std::{collections::BTreeSet, time::Duration};

use super::{
    compute_services,
    database::Link,
    heartbeats::{is_up, whole_s},
};
use crate::{
    Database,
    load::{RunName, Service, Session},
};

/// Host, seconds since its last heartbeat by the database's clock, whether an operator has called it down, whether its node is
/// mapped to a cell. A host that never sent a heartbeat counts from the moment it was recorded.
const QUERY: &str = "SELECT s.host, TIMESTAMPDIFF(SECOND, COALESCE(s.last_seen_up, s.created_at), UTC_TIMESTAMP()), \
                     COALESCE(s.forced_down, 0), COALESCE(c.mapped, 0) > 0 \
                     FROM nova.services s LEFT JOIN nova.compute_nodes c ON c.host = s.host AND c.deleted = 0 \
                     WHERE s.`binary` = 'nova-compute' AND s.deleted = 0";

/// What Nova has of the hypervisors of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// Hosts that are up.
    pub up: BTreeSet<String>,
    /// How many of them were heard when they should have been.
    pub beating: usize,
    /// Hosts that the scheduler can choose.
    pub mapped: usize,
    /// Hosts that an earlier, larger run left at rest, and that Nova still takes for up: builds would go there, and stay.
    pub up_at_rest: usize,
}

/// Calls the roll.
pub struct RollCall {
    run: RunName,
    by: By,
}

enum By {
    Records { link: Box<Link>, times: Times, hypervisors: u32 },
    Api(Session),
}

/// How long Nova waits for a heartbeat, in whole seconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    service_down_time_s: i64,
    /// One that comes later than this had to wait.
    late_after_s: i64,
}

/// A heartbeat takes a while on its way, and Nova counts whole seconds.
const GRACE_S: i64 = 5;

impl RollCall {
    /// By the records of the harness's own cloud, which takes a host for down after the second of these times without a heartbeat;
    /// one is sent in each of the first.
    pub fn by_records(
        database: &Database,
        (report_interval, service_down_time): (Duration, Duration),
        (run, hypervisors): (RunName, u32),
    ) -> Self {
        let times =
            Times { service_down_time_s: whole_s(service_down_time), late_after_s: whole_s(report_interval) + GRACE_S };
        Self { run, by: By::Records { link: Box::new(Link::new(database)), times, hypervisors } }
    }

    /// By the API of somebody else's cloud.
    pub fn by_api(admin: Session, run: RunName) -> Self {
        Self { run, by: By::Api(admin) }
    }

    /// Who is there now; `None` when Nova cannot say. Mapped hosts are counted only once `wanted` are up: an API tells of them
    /// dearly.
    ///
    /// # Errors
    /// What the cloud, or its database, said.
    pub async fn call(&mut self, wanted: usize) -> Result<Option<Roll>, String> {
        match &mut self.by {
            By::Records { link, times, hypervisors } => {
                let rows: Vec<(String, i64, bool, bool)> = link.rows(QUERY).await?;
                let (at_rest, ours): (Vec<_>, Vec<_>) = rows
                    .into_iter()
                    .filter(|(host, ..)| self.run.owns_host(host, u32::MAX))
                    .partition(|(host, ..)| !self.run.owns_host(host, *hypervisors));
                Ok(Some(Roll { up_at_rest: roll(at_rest, *times).up.len(), ..roll(ours, *times) }))
            }
            By::Api(admin) => {
                let services = compute_services(admin, &self.run).await.map_err(|error| error.to_string())?;
                let Some(services) = services else { return Ok(None) };
                let up: BTreeSet<String> =
                    services.into_iter().filter(|service| service.up).map(|service| service.host).collect();
                let mapped = if up.len() >= wanted { mapped(admin, &self.run).await? } else { 0 };
                Ok(Some(Roll { beating: up.len(), up, mapped, up_at_rest: 0 }))
            }
        }
    }
}

fn roll(rows: impl IntoIterator<Item = (String, i64, bool, bool)>, times: Times) -> Roll {
    let mut roll = Roll::default();
    for (host, silent_s, forced_down, mapped) in rows {
        roll.mapped += usize::from(mapped);
        if is_up(silent_s, forced_down, times.service_down_time_s) {
            roll.beating += usize::from(silent_s <= times.late_after_s);
            roll.up.insert(host);
        }
    }
    roll
}

/// Nova lists a hypervisor only once its host is mapped to a cell.
async fn mapped(admin: &Session, run: &RunName) -> Result<usize, String> {
    let listed = admin.list("list hypervisors", Service::Compute, "/os-hypervisors", "hypervisors").await;
    let hypervisors = listed.map_err(|error| error.to_string())?;
    let names = hypervisors.iter().filter_map(|hypervisor| hypervisor["hypervisor_hostname"].as_str());
    Ok(names.filter(|name| run.owns(name)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_up_by_novas_rule_and_mapped_or_not() {
        let row = |host: &str, silent_s, forced_down, mapped| (host.to_owned(), silent_s, forced_down, mapped);
        let rows = [
            row("a", 60, false, true),
            row("b", 61, false, true),
            row("c", -61, false, false),
            row("d", 0, true, false),
        ];
        let times = Times { service_down_time_s: 60, late_after_s: 15 };
        let late = roll(rows.clone(), times);
        assert_eq!(late, Roll { up: BTreeSet::from(["a".to_owned()]), beating: 0, mapped: 2, up_at_rest: 0 });
        let on_time = roll(rows, Times { late_after_s: 60, ..times });
        assert_eq!(on_time.beating, 1);
    }
}
