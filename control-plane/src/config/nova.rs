//! Nova.

use super::{Config, Ini, Settings, settings::LOCALHOST};
use crate::{
    Amqp, UpError,
    real_compute::{Spec, Wires},
};

/// Seconds between two looks for new hypervisors.
const DISCOVER_EVERY_S: &str = "5";

/// What Nova has by default (`oslo_log/_options.py`, `nova/config.py`), and one logger at DEBUG.
const LOG_LEVELS: &str = "amqp=WARN,boto=WARN,sqlalchemy=WARN,suds=INFO,oslo.messaging=INFO,oslo_messaging=INFO,\
    iso8601=WARN,requests.packages.urllib3.connectionpool=WARN,urllib3.connectionpool=WARN,websocket=WARN,\
    requests.packages.urllib3.util.retry=WARN,urllib3.util.retry=WARN,keystonemiddleware=WARN,routes.middleware=WARN,\
    stevedore=WARN,taskflow=WARN,keystoneauth=WARN,oslo.cache=INFO,oslo_policy=INFO,dogpile.core.dogpile=INFO,\
    glanceclient=WARN,oslo.privsep.daemon=INFO,nova.conductor.manager=DEBUG";

pub(super) fn nova(settings: &Settings<'_>, config: &mut Config) -> Result<(), UpError> {
    let mut ini = Ini::new("nova", "etc/nova/nova.conf");
    common(settings, &mut ini);
    ini.own("DEFAULT", &[("state_path", &settings.path("data/nova"))]);
    ini.own("oslo_concurrency", &[("lock_path", &settings.path("run/nova"))]);
    ini.own("database", &[("connection", &settings.database_url("nova", "nova"))]);
    ini.own("api_database", &[("connection", &settings.database_url("nova", "nova_api"))]);
    ini.own("wsgi", &[("api_paste_config", &settings.path("venv/etc/nova/api-paste.ini"))]);
    ini.deviate(
        "scheduler",
        "discover_hosts_in_cells_interval",
        DISCOVER_EVERY_S,
        "hypervisors of a fleet must be found without an operator's command; one indexed query while there is none new",
    );
    ini.deviate(
        "DEFAULT",
        "default_log_levels",
        LOG_LEVELS,
        "nova-conductor says how long it waited for the scheduler at DEBUG only: about five more lines for each boot",
    );
    config.add_ini("nova", settings, ini)
}

/// Configuration of an unmodified nova-compute with a fake driver, which has no database of its own.
pub(crate) fn compute_conf(settings: &Settings<'_>, spec: &Spec) -> Result<String, UpError> {
    let folder = format!("data/nova-compute/{}", spec.host);
    let file = format!("{folder}/nova.conf");
    let mut ini = Ini::new("nova", &file);
    common(settings, &mut ini);
    ini.own(
        "DEFAULT",
        &[
            ("host", spec.renamed.as_ref().unwrap_or(&spec.host)),
            ("compute_driver", &spec.driver),
            ("state_path", &settings.path(&folder)),
        ],
    );
    ini.own("oslo_concurrency", &[("lock_path", &settings.path(format!("{folder}/lock")))]);
    if let Some(wires) = &spec.wires {
        rewire(settings, &mut ini, wires);
    }
    ini.tune(settings.spec.tuning.get("nova"), settings.release.name)?;
    ini.tune(Some(&spec.options), settings.release.name)?;
    Ok(ini.render().remove(std::path::Path::new(&file)).expect("the file was named above"))
}

/// Other addresses for the same services.
fn rewire(settings: &Settings<'_>, ini: &mut Ini, wires: &Wires) {
    let broker = Amqp { nodes: vec![fake_hv::BrokerNode::local(wires.amqp_port)], ..settings.amqp() };
    ini.own("DEFAULT", &[("transport_url", broker.transport_url().reveal())]);
    let auth_url = format!("{}/v3", wires.identity_url);
    for section in ["keystone_authtoken", "placement", "neutron", "service_user"] {
        ini.own(section, &[("auth_url", &auth_url)]);
    }
    for (section, url) in
        [("placement", &wires.placement_url), ("neutron", &wires.network_url), ("glance", &wires.image_url)]
    {
        ini.own(section, &[("endpoint_override", url)]);
    }
}

/// What every Nova service needs to reach the others.
fn common(settings: &Settings<'_>, ini: &mut Ini) {
    ini.own("DEFAULT", &[("transport_url", settings.amqp().transport_url().reveal()), ("my_ip", LOCALHOST)]);
    settings.own_token_check(ini, "nova");
    settings.own_login(ini, "placement", "placement");
    settings.own_login(ini, "neutron", "neutron");
    settings.own_login(ini, "service_user", "nova");
    ini.own("service_user", &[("send_service_user_token", "True")]);
    ini.own("glance", &[("region_name", super::settings::REGION)]);
}
