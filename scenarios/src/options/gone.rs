//! Options of 2014 that a release does not have any more, and what became of each.

use std::sync::OnceLock;

use serde::Deserialize;

use super::OPENSTACK;
use crate::plan::OptionValue;

const TEXT: &str = include_str!("../../options/gone.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gone {
    option: Vec<GoneOption>,
    value: Vec<GoneValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GoneOption {
    /// Services that had it; empty: all.
    #[serde(default)]
    services: Vec<String>,
    /// Names it had, `section.name`.
    names: Vec<String>,
    /// What became of it, and what to write today.
    became: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GoneValue {
    service: String,
    option: String,
    value: String,
    became: String,
}

fn gone() -> &'static Gone {
    static PARSED: OnceLock<Gone> = OnceLock::new();
    PARSED.get_or_init(|| toml::from_str(TEXT).expect("the embedded list is valid; a test reads it"))
}

/// What became of an option that is gone.
pub(crate) fn option(service: &str, name: &str) -> Option<&'static str> {
    let had = |gone: &&GoneOption| {
        let of_all = gone.services.is_empty() && OPENSTACK.contains(&service);
        (of_all || gone.services.iter().any(|s| s == service)) && gone.names.iter().any(|n| n == name)
    };
    gone().option.iter().find(had).map(|gone| gone.became.as_str())
}

/// What became of a value that an option does not take any more.
pub(crate) fn value(service: &str, option: &str, value: &OptionValue) -> Option<&'static str> {
    let value = value.to_string();
    let took = |gone: &&GoneValue| gone.service == service && gone.option == option && gone.value == value;
    gone().value.iter().find(took).map(|gone| gone.became.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{catalogue::service_options, releases};

    /// What is listed as gone is gone from the newest release, and where it is gone, what the text tells people to write
    /// exists.
    #[test]
    fn the_list_agrees_with_every_catalogue() {
        let newest = releases().next().expect("one ships");
        for release in releases() {
            for gone in &gone().option {
                let services: Vec<&str> = match gone.services.as_slice() {
                    [] => OPENSTACK.to_vec(),
                    some => some.iter().map(String::as_str).collect(),
                };
                for service in services {
                    let options = service_options(release, service).expect("every service has options");
                    let still = gone.names.iter().find(|name| options.contains_key(*name));
                    assert!(still.is_none() || release != newest, "{service} {release} still has {still:?}");
                    if still.is_some() {
                        continue;
                    }
                    for named in gone.became.split('`').skip(1).step_by(2).filter(|named| named.contains('.')) {
                        assert!(
                            options.contains_key(named),
                            "{service} {release} has no {named}, named for {:?}",
                            gone.names
                        );
                    }
                }
            }
            for gone in &gone().value {
                let options = service_options(release, &gone.service).expect("every service has options");
                assert!(options.contains_key(&gone.option), "{release} has no {}", gone.option);
            }
        }
    }
}
