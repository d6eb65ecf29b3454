//! The options of the services: which there are in a release, what became of those that are gone, and which of them a
//! simulated hypervisor follows.

mod catalogue;
mod check;
mod compute;
mod gone;
mod value;

use std::collections::BTreeMap;

pub use catalogue::{OptionFacts, find, name_in, releases, wsgi_defaults};
pub use check::check;
pub use compute::{
    AllocationRatios, FLEET_OPTIONS, allocation_ratios, compute_options, raised_down_time, service_down_time,
};

pub(crate) use check::check_one;

use crate::plan::Tuning;

/// Those of them that are OpenStack's, whose options each release brings.
pub(crate) const OPENSTACK: [&str; 5] = ["nova", "neutron", "keystone", "placement", "glance"];

/// The services whose configuration a scenario can set.
pub const SERVICES: [&str; 7] = ["nova", "neutron", "keystone", "placement", "glance", "rabbitmq", "mariadb"];

/// What differs from the release's defaults, as `service: section.name` to the value as the configuration file has it.
pub fn non_defaults(tuning: &Tuning, release: &str) -> BTreeMap<String, String> {
    let mut differing = BTreeMap::new();
    for (service, options) in tuning {
        for (option, value) in options {
            let is_default =
                find(release, service, option).is_some_and(|facts| value::equals_json(value, &facts.default));
            if !is_default {
                differing.insert(format!("{service}: {option}"), value.to_string());
            }
        }
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::OptionValue;

    #[test]
    fn only_what_differs_is_reported() {
        let options = [
            ("DEFAULT.report_interval", OptionValue::Integer(60)),
            ("DEFAULT.service_down_time", OptionValue::Integer(60)),
            ("DEFAULT.vif_plugging_is_fatal", OptionValue::Text("false".to_owned())),
            ("conductor.workers", OptionValue::Integer(4)),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let tuning = Tuning::from([("nova".to_owned(), options)]);
        let reported = non_defaults(&tuning, "2026.2");
        let expected = [
            ("nova: DEFAULT.report_interval", "60"),
            ("nova: DEFAULT.vif_plugging_is_fatal", "false"),
            ("nova: conductor.workers", "4"),
        ];
        assert_eq!(reported, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect());
    }
}
