//! What cloud is asked for.

use std::collections::BTreeMap;

use scenarios::{
    options,
    plan::{CloudPlan, MOST_BROKERS, OptionValue, Tuning, WsgiPlan},
};
use serde::{Deserialize, Serialize};

use crate::{DEFAULT_RELEASE, UpError};

/// Services that uWSGI serves behind nginx, in the order in which they start.
pub const WSGI_SERVICES: [&str; 5] = ["keystone", "placement", "glance", "neutron", "nova"];

/// Name of the tuning table that sets processes and threads of the APIs (`"keystone.processes" = 9`).
const WSGI_TABLE: &str = "wsgi";

/// The cloud that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudSpec {
    /// OpenStack release, for example `2026.2`.
    pub release: String,
    /// Nodes of the broker's cluster; `None`: as many as the cloud in the state folder has, else one.
    #[serde(default)]
    pub brokers: Option<u32>,
    /// Processes and threads of the APIs, by service name; those left out have the release's own
    /// ([`options::wsgi_defaults`]).
    pub wsgi: BTreeMap<String, WsgiPlan>,
    /// Options by service that differ from the release's defaults.
    pub tuning: Tuning,
    /// First port of the cloud's range; `None`: that of the cloud in the state folder, else [`crate::DEFAULT_BASE_PORT`].
    pub base_port: Option<u16>,
}

impl Default for CloudSpec {
    fn default() -> Self {
        Self {
            release: DEFAULT_RELEASE.to_owned(),
            brokers: None,
            wsgi: BTreeMap::new(),
            tuning: Tuning::new(),
            base_port: None,
        }
    }
}

impl CloudSpec {
    /// The cloud that a plan asks for.
    pub fn from_plan(release: &str, cloud: &CloudPlan, tuning: &Tuning) -> Self {
        Self {
            release: release.to_owned(),
            brokers: cloud.brokers,
            wsgi: cloud.wsgi.clone(),
            tuning: tuning.clone(),
            base_port: None,
        }
    }

    /// The same cloud with every API's processes and threads filled in, those of the tuning table `wsgi` included.
    ///
    /// # Errors
    /// When a name is no API of the cloud, a number is not one from 1 to 64, or the release does not know an option or
    /// its value.
    pub fn resolved(&self) -> Result<Self, UpError> {
        options::check(&self.tuning, &self.release).map_err(|wrong| {
            UpError::invalid(wrong.iter().map(|line| format!("tuning: {line}")).collect::<Vec<_>>().join("\n"))
        })?;
        if let Some(brokers) = self.brokers.filter(|brokers| !(1..=MOST_BROKERS).contains(brokers)) {
            return Err(UpError::invalid(format!("brokers: {brokers} is not from 1 to {MOST_BROKERS}")));
        }
        let mut spec = self.clone();
        let mut wsgi = options::wsgi_defaults(&self.release);
        for (service, plan) in &self.wsgi {
            *wsgi.get_mut(service).ok_or_else(|| unknown_api(service))? = *plan;
        }
        for (key, value) in spec.tuning.remove(WSGI_TABLE).unwrap_or_default() {
            set_wsgi(&mut wsgi, &key, &value)?;
        }
        for (service, plan) in &wsgi {
            for (name, count) in [("processes", plan.processes), ("threads", plan.threads)] {
                if !(1..=MAX_COUNT).contains(&count) {
                    return Err(UpError::invalid(format!(
                        "wsgi: {service}.{name} = {count} is not from 1 to {MAX_COUNT}"
                    )));
                }
            }
        }
        spec.tuning.retain(|_, options| !options.is_empty());
        spec.wsgi = wsgi;
        Ok(spec)
    }
}

/// More processes of one API than this do not fit the cloud's range of ports.
pub(crate) const MAX_COUNT: u32 = 64;

fn set_wsgi(wsgi: &mut BTreeMap<String, WsgiPlan>, key: &str, value: &OptionValue) -> Result<(), UpError> {
    let (service, name) = key.split_once('.').unwrap_or((key, ""));
    let plan = wsgi.get_mut(service).ok_or_else(|| unknown_api(service))?;
    let OptionValue::Integer(count) = value else {
        return Err(UpError::invalid(format!("wsgi: {key} must be a whole number")));
    };
    let count = u32::try_from(*count).unwrap_or(0);
    match name {
        "processes" => plan.processes = count,
        "threads" => plan.threads = count,
        _ => return Err(UpError::invalid(format!("wsgi: {key} is not known; `processes` and `threads` are"))),
    }
    Ok(())
}

fn unknown_api(service: &str) -> UpError {
    UpError::invalid(format!("wsgi: {service} is no API of the cloud; these are: {}", WSGI_SERVICES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(key: &str, value: OptionValue) -> CloudSpec {
        let table = BTreeMap::from([(key.to_owned(), value)]);
        CloudSpec { tuning: BTreeMap::from([("wsgi".to_owned(), table)]), ..CloudSpec::default() }
    }

    #[test]
    fn the_talk_can_be_asked_for() {
        let spec = tuned("keystone.processes", OptionValue::Integer(9)).resolved().unwrap();
        assert_eq!(spec.wsgi["keystone"], WsgiPlan { processes: 9, threads: 4 });
        assert_eq!(spec.wsgi["neutron"], WsgiPlan { processes: 1, threads: 4 });
        assert!(spec.tuning.is_empty());
    }

    #[test]
    fn an_older_release_has_its_own_options_and_processes() {
        let older = |spec: CloudSpec| CloudSpec { release: "2024.2".to_owned(), ..spec }.resolved();
        let spec = older(CloudSpec::default()).unwrap();
        assert_eq!(spec.wsgi["nova"], WsgiPlan { processes: 4, threads: 1 });
        let option = BTreeMap::from([("DEFAULT.osapi_compute_workers".to_owned(), OptionValue::Integer(4))]);
        let tuning = BTreeMap::from([("nova".to_owned(), option)]);
        let error = older(CloudSpec { tuning, ..CloudSpec::default() }).unwrap_err().to_string();
        assert!(error.contains("[cloud.wsgi]"), "{error}");
    }

    #[test]
    fn impossible_counts_of_a_plan_are_refused() {
        let wsgi = BTreeMap::from([("nova".to_owned(), WsgiPlan { processes: 65, threads: 1 })]);
        let error = CloudSpec { wsgi, ..CloudSpec::default() }.resolved().unwrap_err().to_string();
        assert!(error.contains("nova.processes = 65 is not from 1 to 64"), "{error}");
    }

    #[test]
    fn impossible_counts_and_unknown_apis_are_refused() {
        for (key, value) in
            [("keystone.processes", 0), ("heat.processes", 2), ("nova.workers", 2), ("nova.threads", 65)]
        {
            let error = tuned(key, OptionValue::Integer(value)).resolved().unwrap_err().to_string();
            assert!(error.contains("wsgi: "), "{error}");
        }
    }
}
