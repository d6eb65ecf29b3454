//! Keystone, Placement, Glance and Neutron.

use scenarios::options::name_in;

use super::{Config, Ini, Settings, settings::LOCALHOST};
use crate::UpError;

const CACHE_REASON: &str = "tokens and catalogues are cached in memcached, as in every deployment under load";
const WIRED_BY_AGENTS: &str = "the simulated L2 agents are Open vSwitch agents, with VLAN and flat networks";

pub(super) fn keystone(settings: &Settings<'_>, config: &mut Config) -> Result<(), UpError> {
    let mut ini = Ini::new("keystone", "etc/keystone/keystone.conf");
    ini.own("database", &[("connection", &settings.database_url("keystone", "keystone"))]);
    ini.own("fernet_tokens", &[("key_repository", &settings.path("data/keystone/fernet-keys"))]);
    ini.own("fernet_receipts", &[("key_repository", &settings.path("data/keystone/fernet-keys"))]);
    ini.own("credential", &[("key_repository", &settings.path("data/keystone/credential-keys"))]);
    ini.own("DEFAULT", &[("transport_url", settings.amqp().transport_url().reveal())]);
    ini.own("cache", &[("memcache_servers", &format!("{LOCALHOST}:{}", settings.ports.memcached()))]);
    ini.deviate("cache", "enabled", "True", CACHE_REASON);
    ini.deviate("cache", "backend", "oslo_cache.memcache_pool", CACHE_REASON);
    config.add_ini("keystone", settings, ini)
}

pub(super) fn placement(settings: &Settings<'_>, config: &mut Config) -> Result<(), UpError> {
    let mut ini = Ini::new("placement", "etc/placement/placement.conf");
    ini.own("placement_database", &[("connection", &settings.database_url("placement", "placement"))]);
    ini.own("api", &[("auth_strategy", "keystone")]);
    settings.own_token_check(&mut ini, "placement");
    config.add_ini("placement", settings, ini)
}

pub(super) fn glance(settings: &Settings<'_>, config: &mut Config) -> Result<(), UpError> {
    let mut ini = Ini::new("glance", "etc/glance/glance-api.conf");
    ini.own("database", &[("connection", &settings.database_url("glance", "glance"))]);
    ini.own(
        "DEFAULT",
        &[("transport_url", settings.amqp().transport_url().reveal()), ("enabled_backends", "local:file")],
    );
    ini.own("glance_store", &[("default_backend", "local")]);
    ini.own("local", &[("filesystem_store_datadir", &settings.path("data/glance/images"))]);
    ini.own("os_glance_staging_store", &[("filesystem_store_datadir", &settings.path("data/glance/staging"))]);
    ini.own("os_glance_tasks_store", &[("filesystem_store_datadir", &settings.path("data/glance/tasks"))]);
    let paste = settings.path("venv/etc/glance/glance-api-paste.ini");
    ini.own("paste_deploy", &[("flavor", "keystone"), ("config_file", &paste)]);
    ini.own("oslo_concurrency", &[("lock_path", &settings.path("run/glance"))]);
    settings.own_token_check(&mut ini, "glance");
    config.add_ini("glance", settings, ini)
}

pub(super) fn neutron(settings: &Settings<'_>, config: &mut Config) -> Result<(), UpError> {
    // Neutron reads both files; options of the ML2 plug-in belong into its own.
    let ml2 = ["ml2", "ml2_type_vlan", "ml2_type_flat", "securitygroup", "ovs_driver"];
    let mut ini = Ini::new("neutron", "etc/neutron/neutron.conf").split("etc/neutron/ml2_conf.ini", &ml2);
    ini.own(
        "DEFAULT",
        &[
            ("transport_url", settings.amqp().transport_url().reveal()),
            ("state_path", &settings.path("data/neutron")),
            ("api_paste_config", &settings.path("venv/etc/neutron/api-paste.ini")),
            ("auth_strategy", "keystone"),
            ("core_plugin", "ml2"),
        ],
    );
    ini.own("database", &[("connection", &settings.database_url("neutron", "neutron"))]);
    ini.own("oslo_concurrency", &[("lock_path", &settings.path("run/neutron"))]);
    settings.own_token_check(&mut ini, "neutron");
    settings.own_login(&mut ini, "nova", "nova");
    ini.deviate(
        "DEFAULT",
        "enable_traditional_dhcp",
        "False",
        "there are no DHCP agents; Neutron would look for one at each port, in vain",
    );
    ini.deviate("ml2", "mechanism_drivers", "openvswitch", WIRED_BY_AGENTS);
    ini.deviate("ml2", "type_drivers", "flat,vlan", WIRED_BY_AGENTS);
    ini.deviate("ml2", network_types(settings.release.name), "vlan", WIRED_BY_AGENTS);
    ini.deviate("ml2", "extension_drivers", "port_security", "as every installation guide asks for");
    ini.deviate("ml2_type_vlan", "network_vlan_ranges", "physnet1:1000:4000", WIRED_BY_AGENTS);
    config.add_ini("neutron", settings, ini)
}

/// `[ml2] project_network_types`, under the name that it has in the release.
fn network_types(release: &str) -> &'static str {
    let option = name_in(release, "neutron", "ml2.project_network_types").expect("a test looks it up in every release");
    option.rsplit_once('.').map_or(option, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_types_have_a_name_in_every_release() {
        assert_eq!(crate::RELEASES.map(network_types), ["project_network_types", "tenant_network_types"]);
    }
}
