//! Nova's own service list: which hypervisors it takes for up, and when it changes its mind.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use super::{Sampler, Scribe, SharedFleet};
use crate::load::{ApiError, Call, RunName, Service, Session};

/// A compute service of the run as Nova shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// Its host.
    pub host: String,
    /// Whether Nova takes it for up.
    pub up: bool,
}

/// The compute services of a run; `None` when Nova cannot say whether they are up, because a cell gave it no answer. (Its
/// API also takes an exception of its own for that: its cache of availability zones is not safe for threads.)
///
/// # Errors
/// When the list cannot be had.
pub async fn compute_services(admin: &Session, run: &RunName) -> Result<Option<Vec<ServiceState>>, ApiError> {
    let call = Call::get("list services", Service::Compute, "/os-services?binary=nova-compute");
    Ok(states(&admin.call(&call).await?.list("services")?, run))
}

fn states(services: &[Value], run: &RunName) -> Option<Vec<ServiceState>> {
    let ours = services.iter().filter_map(|service| Some((service, service["host"].as_str()?)));
    let ours = ours.filter(|(_, host)| run.owns(host));
    // Of a cell without an answer it lists the hosts alone, with the status "UNKNOWN" (microversion 2.69).
    ours.map(|(service, host)| Some(ServiceState { host: host.to_owned(), up: service["state"].as_str()? == "up" }))
        .collect()
}

/// Counts the hosts that are up, and tells of those that change.
pub(super) struct Services {
    admin: Session,
    run: RunName,
    fleet: SharedFleet,
    flips: Flips,
}

impl Services {
    pub(super) fn new(admin: Session, run: RunName, fleet: SharedFleet) -> Self {
        Self { admin, run, fleet, flips: Flips::default() }
    }
}

impl Sampler for Services {
    const WHAT: &'static str = "Nova's service list";
    const EVERY: Duration = Duration::from_secs(5);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        if !self.fleet.is_there() {
            return Ok(());
        }
        let services = compute_services(&self.admin, &self.run).await.map_err(|error| error.to_string())?;
        let services = services.ok_or("a cell gave Nova no answer, so it does not know which hosts are up")?;
        // The fleet may have been stopped while Nova answered: hosts that then go down do so rightly.
        if !self.fleet.is_there() {
            return Ok(());
        }
        scribe.sample("fleet.up", "", services.iter().filter(|service| service.up).count() as f64);
        for (kind, host) in self.flips.next(&services) {
            scribe.event(kind, host);
        }
        Ok(())
    }
}

/// Remembers what each host was.
#[derive(Debug, Default)]
pub(super) struct Flips {
    up: BTreeMap<String, bool>,
}

impl Flips {
    /// What changed: `host_down` for a host that was up, `host_up` for one that comes back. A host that is seen for the first
    /// time has not changed; one that has vanished is down.
    pub(super) fn next(&mut self, services: &[ServiceState]) -> Vec<(&'static str, String)> {
        let mut events = Vec::new();
        for service in services {
            match self.up.insert(service.host.clone(), service.up) {
                Some(true) if !service.up => events.push(("host_down", service.host.clone())),
                Some(false) if service.up => events.push(("host_up", service.host.clone())),
                _ => {}
            }
        }
        let listed: BTreeSet<&str> = services.iter().map(|service| service.host.as_str()).collect();
        for (host, up) in &mut self.up {
            if *up && !listed.contains(host.as_str()) {
                *up = false;
                events.push(("host_down", host.clone()));
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(hosts: &[(&str, bool)]) -> Vec<ServiceState> {
        hosts.iter().map(|(host, up)| ServiceState { host: (*host).to_owned(), up: *up }).collect()
    }

    #[test]
    fn only_changes_are_told() {
        let mut flips = Flips::default();
        assert!(flips.next(&seen(&[("a", true), ("b", false)])).is_empty());
        assert!(flips.next(&seen(&[("a", true), ("b", false)])).is_empty());
        let events = flips.next(&seen(&[("a", false), ("b", true)]));
        assert_eq!(events, [("host_down", "a".to_owned()), ("host_up", "b".to_owned())]);
        assert_eq!(flips.next(&seen(&[("a", true)])), [("host_up", "a".to_owned()), ("host_down", "b".to_owned())]);
        assert!(flips.next(&seen(&[("a", true)])).is_empty());
    }

    #[test]
    fn hosts_of_others_do_not_count() {
        let run = RunName::generate();
        let service = |host: &str, state: &str| json!({"host": host, "state": state, "status": "enabled"});
        let (one, two) = (format!("{run}-00001"), format!("{run}-00002"));
        let listed = [service("real-compute", "up"), service(&one, "up"), service(&two, "down")];
        assert_eq!(states(&listed, &run), Some(seen(&[(&one, true), (&two, false)])));
    }

    #[test]
    fn a_host_of_a_cell_without_an_answer_is_not_down() {
        let run = RunName::generate();
        let unknown = json!({"binary": "nova-compute", "host": format!("{run}-00001"), "status": "UNKNOWN"});
        assert_eq!(states(&[unknown], &run), None);
        assert_eq!(states(&[], &run), Some(Vec::new()));
    }
}
