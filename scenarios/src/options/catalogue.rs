//! The options that a release has: data, dumped from the installed release.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

use crate::plan::WsgiPlan;

/// The catalogues in the binary, by release, newest first.
const EMBEDDED: [(&str, &str); 2] =
    [("2026.2", include_str!("../../options/2026.2.json")), ("2024.2", include_str!("../../options/2024.2.json"))];

/// Options of the broker and the database, which no release of OpenStack brings: read from their documentation, written by hand.
const SERVERS: &str = include_str!("../../options/servers.json");

/// What the catalogue knows about one option.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OptionFacts {
    /// Type, as oslo.config calls it: `integer`, `float`, `boolean`, `string`, `list`, `multi`, `dict`, `port`, `uri`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Default; `null` where there is none or where the service works it out when it starts.
    pub default: serde_json::Value,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// The only values there are.
    pub choices: Option<Vec<serde_json::Value>>,
    /// Names that it had before, `section.name`.
    pub deprecated: Vec<String>,
    /// Beginning of its help text.
    pub help: String,
    /// The harness sets it; this says from what.
    #[serde(default)]
    pub owned: Option<String>,
    /// Why it will go in a later release.
    #[serde(default)]
    pub deprecated_for_removal: Option<String>,
}

/// Options of one service, by `section.name`.
pub(crate) type ServiceOptions = BTreeMap<String, OptionFacts>;

#[derive(Debug, Deserialize)]
struct Catalogue {
    services: BTreeMap<String, ServiceOptions>,
}

/// The releases that there is a catalogue of, newest first.
pub fn releases() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(release, _)| *release)
}

/// What is known about an option of a release, under its own name (not one that it had before).
pub fn find(release: &str, service: &str, option: &str) -> Option<&'static OptionFacts> {
    service_options(release, service)?.get(option)
}

/// The name that an option has in a release: its own, or one that a newer release says it had before.
pub fn name_in<'a>(release: &str, service: &str, option: &'a str) -> Option<&'a str> {
    let options = service_options(release, service)?;
    if options.contains_key(option) {
        return Some(option);
    }
    let before = releases().filter_map(|newer| find(newer, service, option)).flat_map(|facts| &facts.deprecated);
    before.map(String::as_str).find(|old| options.contains_key(*old))
}

pub(crate) fn service_options(release: &str, service: &str) -> Option<&'static ServiceOptions> {
    static PARSED: [OnceLock<Catalogue>; EMBEDDED.len()] = [const { OnceLock::new() }; EMBEDDED.len()];
    let at = EMBEDDED.iter().position(|(known, _)| *known == release)?;
    let parse = |text| serde_json::from_str(text).expect("the embedded catalogue is valid; a test reads it");
    static OF_SERVERS: OnceLock<Catalogue> = OnceLock::new();
    let of_release = PARSED[at].get_or_init(|| parse(EMBEDDED[at].1)).services.get(service);
    of_release.or_else(|| OF_SERVERS.get_or_init(|| parse(SERVERS)).services.get(service))
}

/// Processes and threads of each WSGI service unless a scenario says otherwise.
pub fn wsgi_defaults(release: &str) -> BTreeMap<String, WsgiPlan> {
    let mut services: BTreeMap<String, WsgiPlan> = BTreeMap::new();
    for (name, facts) in service_options(release, "wsgi").into_iter().flatten() {
        let (service, what) = name.split_once('.').expect("a WSGI setting is named service.what");
        let count = facts.default.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
        let plan = services.entry(service.to_owned()).or_insert(WsgiPlan { processes: 1, threads: 1 });
        match what {
            "processes" => plan.processes = count,
            _ => plan.threads = count,
        }
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_was_renamed_since_has_its_old_name() {
        assert_eq!(name_in("2024.2", "neutron", "ml2.project_network_types"), Some("ml2.tenant_network_types"));
        assert_eq!(name_in("1999.1", "neutron", "ml2.project_network_types"), None);
    }

    #[test]
    fn every_catalogue_is_complete() {
        for release in releases() {
            for service in super::super::OPENSTACK {
                let options = service_options(release, service).expect("every service has options");
                assert!(options.len() > 100, "{release} has {} options of {service}", options.len());
            }
            assert_eq!(wsgi_defaults(release).len(), 5);
            assert_eq!(name_in(release, "nova", "DEFAULT.report_interval"), Some("DEFAULT.report_interval"));
            assert_eq!(name_in(release, "nova", "DEFAULT.none"), None);
        }
        assert_eq!(
            find("2026.2", "nova", "DEFAULT.report_interval").map(|facts| facts.default.as_u64()),
            Some(Some(10))
        );
        assert!(find("1999.1", "nova", "DEFAULT.report_interval").is_none());
    }
}
