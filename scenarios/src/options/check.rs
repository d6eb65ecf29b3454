//! Is there such an option, may it be set, and may it be set to this?

use super::{
    OPENSTACK, SERVICES,
    catalogue::{OptionFacts, ServiceOptions, service_options},
    gone, value,
};
use crate::{
    nearest,
    plan::{OptionValue, Tuning},
    problem::Complaint,
};

/// What is wrong with an option.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) complaint: Complaint,
    /// The value is wrong, not the name.
    pub(crate) in_value: bool,
}

/// Bounds below which a service would run but nothing could be learnt from it: `(service, option, smallest, why)`.
const SENSIBLE: [(&str, &str, f64, &str); 3] = [
    ("nova", "DEFAULT.report_interval", 1.0, "a nova-compute that does not report is never up"),
    ("nova", "DEFAULT.rpc_response_timeout", 1.0, "every remote call would time out at once"),
    ("neutron", "agent.report_interval", 0.1, "an agent that does not report is never alive, and no port binds"),
];

/// Most sections of an option that a message names.
const MOST_PLACES: usize = 4;

/// Checks options against the catalogue of a release.
///
/// # Errors
/// One message for each option that the release does not have, that the harness sets itself, or whose value it does not
/// take.
pub fn check(tuning: &Tuning, release: &str) -> Result<(), Vec<String>> {
    let mut messages = Vec::new();
    for (service, options) in tuning {
        for (option, value) in options {
            if let Err(Wrong { complaint, .. }) = check_one(release, service, option, value) {
                let help = complaint.help.map(|help| format!("; {help}")).unwrap_or_default();
                messages.push(format!("{service}: {option}: {}{help}", complaint.message));
            }
        }
    }
    if messages.is_empty() { Ok(()) } else { Err(messages) }
}

/// The option's name as the catalogue has it, when it may be set to this value.
pub(crate) fn check_one(release: &str, service: &str, option: &str, value: &OptionValue) -> Result<String, Wrong> {
    let name_is_wrong = |complaint| Wrong { complaint, in_value: false };
    let value_is_wrong = |complaint| Wrong { complaint, in_value: true };
    let Some(options) = service_options(release, service) else {
        let help = format!("services are {}", SERVICES.join(", "));
        return Err(name_is_wrong(Complaint::new(format!("there are no options of `{service}` in {release}"), help)));
    };
    let Some((name, facts)) = look_up(options, option) else {
        return Err(name_is_wrong(unknown(options, release, service, option)));
    };
    if let Some(source) = &facts.owned {
        let help = "leave it out; what can be set is everything that does not say where the services are";
        return Err(name_is_wrong(Complaint::new(format!("the harness sets this option itself ({source})"), help)));
    }
    if let Some(became) = gone::value(service, name, value) {
        return Err(value_is_wrong(Complaint::new(format!("`{value}` is no value of it any more"), became)));
    }
    value::fits(facts, value).map_err(value_is_wrong)?;
    let bound = SENSIBLE.iter().find(|(s, o, ..)| *s == service && *o == name);
    if let Some((.., least, why)) =
        bound.filter(|(.., least, _)| value.as_number().is_some_and(|number| number < *least))
    {
        return Err(value_is_wrong(Complaint::new(
            format!("{value} is too small: {why}"),
            format!("give {least} or more"),
        )));
    }
    Ok(name.to_owned())
}

/// Sections other than DEFAULT are read in any case (`oslo_config/cfg.py`, `_normalize_group_name`): `[AGENT]` is `[agent]`.
fn look_up<'a>(options: &'a ServiceOptions, option: &str) -> Option<(&'a str, &'a OptionFacts)> {
    if let Some((name, facts)) = options.get_key_value(option) {
        return Some((name, facts));
    }
    let (section, name) = option.rsplit_once('.')?;
    let same = |known: &str| {
        known.rsplit_once('.').is_some_and(|(known_section, known_name)| {
            known_section != "DEFAULT" && known_name == name && known_section.eq_ignore_ascii_case(section)
        })
    };
    options.iter().find(|(known, _)| same(known)).map(|(name, facts)| (name.as_str(), facts))
}

fn unknown(options: &ServiceOptions, release: &str, service: &str, option: &str) -> Complaint {
    if let Some((name, _)) = options.iter().find(|(_, facts)| facts.deprecated.iter().any(|old| old == option)) {
        return Complaint::new(format!("{service} has this option under a new name"), format!("write `{name}`"));
    }
    if let Some(became) = gone::option(service, option) {
        return Complaint::new(format!("{service} {release} does not have this option any more"), became);
    }
    if !OPENSTACK.contains(&service) {
        let near = nearest::hint(option, options.keys().map(String::as_str));
        let all = options.keys().cloned().collect::<Vec<_>>().join(", ");
        let message = format!("`{option}` is no option of {service} that can be set");
        return Complaint::new(message, format!("{near}those that can: {all}"));
    }
    let message = format!("{service} {release} has no option `{option}`");
    let Some((_, name)) = option.rsplit_once('.') else {
        if service_options(release, "wsgi").is_some_and(|all| all.contains_key(&format!("{service}.{option}"))) {
            let help = format!(
                "the API servers' {option} are no option of the service: write \"{service}.{option}\" below [wsgi] in a \
                 tuning file, {service} = {{ {option} = … }} below [cloud.wsgi] in a scenario"
            );
            return Complaint::new(message, help);
        }
        let place = options.keys().find(|known| known.rsplit_once('.').is_some_and(|(_, known)| known == option));
        let help = match place {
            Some(place) => format!("write it with its section: `{place}`"),
            None => "write options as section.name, such as `DEFAULT.report_interval`".to_owned(),
        };
        return Complaint::new(message, help);
    };
    let places: Vec<_> =
        options.keys().filter(|known| known.rsplit_once('.').is_some_and(|(_, n)| n == name)).collect();
    let near_whole = || nearest::to(option, options.keys().map(String::as_str));
    let near_name = || {
        let near = nearest::to(name, options.keys().filter_map(|known| Some(known.rsplit_once('.')?.1)))?;
        options.keys().map(String::as_str).find(|known| known.rsplit_once('.').is_some_and(|(_, name)| name == near))
    };
    if !places.is_empty() {
        let shown: Vec<String> = places.iter().take(MOST_PLACES).map(|place| format!("`{place}`")).collect();
        let more = if places.len() > MOST_PLACES { ", …" } else { "" };
        return Complaint::new(message, format!("it is in another section: {}{more}", shown.join(", ")));
    }
    let service_of =
        SERVICES.iter().find(|other| service_options(release, other).is_some_and(|all| all.contains_key(option)));
    if let Some(other) = service_of {
        return Complaint::new(message, format!("{other} has it: write it below [tuning.{other}]"));
    }
    match near_whole().or_else(near_name) {
        Some(near) => Complaint::new(message, format!("did you mean `{near}`, in section [{}]?", section(near))),
        None => Complaint::new(message, format!("nothing in {service} {release} is called anything like it")),
    }
}

fn section(option: &str) -> &str {
    option.rsplit_once('.').map_or("DEFAULT", |(section, _)| section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nova(option: &str, value: OptionValue) -> Result<String, String> {
        let checked = check_one("2026.2", "nova", option, &value);
        checked.map_err(|wrong| format!("{}; {}", wrong.complaint.message, wrong.complaint.help.unwrap_or_default()))
    }

    #[test]
    fn processes_of_the_api_servers_have_a_place_of_their_own() {
        let wrong = nova("processes", OptionValue::Integer(9)).expect_err("no option of the service");
        assert!(wrong.contains("write \"nova.processes\" below [wsgi]"), "{wrong}");
    }

    #[test]
    fn known_options_pass_under_the_name_of_the_catalogue() {
        assert_eq!(nova("DEFAULT.report_interval", OptionValue::Integer(60)), Ok("DEFAULT.report_interval".to_owned()));
        assert_eq!(nova("Conductor.workers", OptionValue::Text("4".to_owned())), Ok("conductor.workers".to_owned()));
        let agent = check_one("2026.2", "neutron", "AGENT.report_interval", &OptionValue::Integer(15));
        assert_eq!(agent.expect("known"), "agent.report_interval");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let cases = [
            ("DEFAULT.report_intervall", OptionValue::Integer(1), "did you mean `DEFAULT.report_interval`"),
            (
                "DEFAULT.max_pool_size",
                OptionValue::Integer(1),
                "`api_database.max_pool_size`, `database.max_pool_size`",
            ),
            ("report_interval", OptionValue::Integer(1), "write it with its section: `DEFAULT.report_interval`"),
            ("DEFAULT.rpc_thread_pool_size", OptionValue::Integer(1), "write `DEFAULT.executor_thread_pool_size`"),
            ("database.idle_timeout", OptionValue::Integer(1), "database.connection_recycle_time"),
            ("DEFAULT.transport_url", OptionValue::Text("x".to_owned()), "the broker of the cloud"),
            ("DEFAULT.report_interval", OptionValue::Text("60s".to_owned()), "not a whole number"),
            ("DEFAULT.report_interval", OptionValue::Integer(0), "never up"),
            ("compute.resource_provider_association_refresh", OptionValue::Integer(-1), "0 or more"),
            ("libvirt.rx_queue_size", OptionValue::Integer(7), "256, 512, 1024"),
            ("DEFAULT.force_config_drive", OptionValue::Text("always".to_owned()), "true"),
            ("DEFAULT.report_interval", OptionValue::Text("1\n[x]".to_owned()), "one line"),
        ];
        for (option, value, expected) in cases {
            let message = nova(option, value).expect_err(option);
            assert!(message.contains(expected), "{option}: {message}");
        }
        let elsewhere = check_one("2026.2", "nova", "identity.password_hash_rounds", &OptionValue::Integer(4));
        assert!(elsewhere.expect_err("not nova's").complaint.help.expect("help").contains("keystone"));
    }
}
