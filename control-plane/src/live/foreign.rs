//! A cloud that the harness did not start: found by its name in `clouds.yaml`, its services in Keystone's catalogue.
//!
//! `clouds.yaml` is looked for where the ordinary client looks: `$OS_CLIENT_CONFIG_FILE`, the current folder,
//! `~/.config/openstack`, `/etc/openstack`. Passwords must be in it (there is no `secure.yaml` here), and URLs must be
//! `http`: a load over TLS measures TLS.
//!
//! The simulated hypervisors log in as a user that the run makes for them, and to the broker by the URL in the environment
//! variable that the scenario names.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use fake_hv::BrokerNode;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use scenarios::plan::ForeignCloud;
use serde::Deserialize;
use serde_json::Value;

use super::{LiveError, Target};
use crate::{
    Amqp, Secret,
    load::{Apis, Http, Login},
};

#[derive(Debug, Deserialize)]
struct CloudsFile {
    clouds: BTreeMap<String, CloudEntry>,
}

#[derive(Debug, Deserialize)]
struct CloudEntry {
    auth: Auth,
    region_name: Option<String>,
    interface: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Auth {
    auth_url: String,
    username: String,
    password: Secret,
    project_name: String,
    user_domain_name: Option<String>,
    project_domain_name: Option<String>,
}

impl Target {
    /// The cloud that a scenario names. Logs in, and changes nothing.
    ///
    /// # Errors
    /// When it is not in `clouds.yaml`, its Keystone refuses, a service is missing in the catalogue, or the broker's URL is
    /// not in the environment.
    pub async fn foreign(foreign: &ForeignCloud) -> Result<Self, LiveError> {
        let file = clouds_file()?;
        let entry = entry(&file, &read(&file)?, &foreign.cloud)?;
        let amqp = amqp_from(&foreign.transport_url_env)?;
        let auth = entry.auth;
        let domain = |name: Option<String>| name.unwrap_or_else(|| crate::load::DEFAULT_DOMAIN.to_owned());
        let admin = Login {
            user: auth.username,
            password: auth.password,
            project: auth.project_name,
            user_domain: domain(auth.user_domain_name),
            project_domain: domain(auth.project_domain_name),
        };
        let identity = with_version(&http_only(&auth.auth_url, "auth_url in clouds.yaml")?, "/v3");
        let unknown = String::new;
        let apis = Apis { identity, compute: unknown(), network: unknown(), image: unknown(), placement: unknown() };
        let mut target = Self { apis, admin, nova_service: None, amqp, fleet_command: None, own: None };
        let session = target.log_in(Http::new(None)).await?;
        let token = session.authenticate().await.and_then(|answer| answer.json());
        let token = token.map_err(LiveError::api("read the catalogue"))?;
        let catalogue = Catalogue {
            services: token.pointer("/token/catalog").and_then(Value::as_array).cloned().unwrap_or_default(),
            region: entry.region_name,
            interface: entry.interface.unwrap_or_else(|| "public".to_owned()),
        };
        target.apis.compute = catalogue.url("compute")?;
        target.apis.network = with_version(&catalogue.url("network")?, "/v2.0");
        target.apis.image = with_version(&catalogue.url("image")?, "/v2");
        target.apis.placement = catalogue.url("placement")?;
        Ok(target)
    }
}

fn clouds_file() -> Result<PathBuf, LiveError> {
    if let Some(path) = env::var_os("OS_CLIENT_CONFIG_FILE") {
        return Ok(path.into());
    }
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".config/openstack/clouds.yaml"));
    let places = [Some(PathBuf::from("clouds.yaml")), home, Some(PathBuf::from("/etc/openstack/clouds.yaml"))];
    places.into_iter().flatten().find(|path| path.exists()).ok_or_else(|| {
        let places = "in the current folder, ~/.config/openstack and /etc/openstack";
        LiveError::Cloud(format!("there is no clouds.yaml {places}; name one with OS_CLIENT_CONFIG_FILE"))
    })
}

fn read(path: &Path) -> Result<String, LiveError> {
    fs::read_to_string(path).map_err(|source| LiveError::File { path: path.display().to_string(), source })
}

fn entry(path: &Path, text: &str, name: &str) -> Result<CloudEntry, LiveError> {
    let path = path.display();
    let mut file: CloudsFile =
        serde_saphyr::from_str(text).map_err(|error| LiveError::Cloud(format!("{path}: {error}")))?;
    let known = file.clouds.keys().cloned().collect::<Vec<_>>().join(", ");
    let entry = file.clouds.remove(name);
    entry.ok_or_else(|| LiveError::Cloud(format!("{path} has no cloud named {name:?}; it has: {known}")))
}

fn amqp_from(variable: &str) -> Result<Amqp, LiveError> {
    let url = env::var(variable).map_err(|_| {
        let form = "rabbit://user:password@host:port/vhost";
        LiveError::Cloud(format!("the environment variable {variable} is not set; it holds the broker's URL, {form}"))
    })?;
    // The URL holds a password, so no message shows it.
    parse_transport_url(&url).ok_or_else(|| {
        LiveError::Cloud(format!("{variable} is no URL of the form rabbit://user:password@host:port/vhost"))
    })
}

fn parse_transport_url(text: &str) -> Option<Amqp> {
    const AMQP_PORT: u16 = 5672;
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "rabbit" | "amqp"))?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let vhost = decoded(url.path().strip_prefix('/').unwrap_or_default())?;
    Some(Amqp {
        nodes: vec![BrokerNode { host: url.host_str()?.to_owned(), port: url.port().unwrap_or(AMQP_PORT) }],
        user: decoded(url.username())?,
        password: Secret::new(decoded(url.password()?)?),
        vhost: if vhost.is_empty() { "/".to_owned() } else { vhost },
    })
}

fn http_only(url: &str, what: &str) -> Result<String, LiveError> {
    match url.starts_with("http://") {
        true => Ok(url.trim_end_matches('/').to_owned()),
        false => {
            Err(LiveError::Cloud(format!("{what} is {url}; only http:// is supported: name an endpoint without TLS")))
        }
    }
}

/// The URL with the version that this harness speaks, whether it has one already or not.
fn with_version(url: &str, version: &str) -> String {
    if url.ends_with(version) { url.to_owned() } else { format!("{url}{version}") }
}

struct Catalogue {
    services: Vec<Value>,
    region: Option<String>,
    interface: String,
}

impl Catalogue {
    fn url(&self, kind: &str) -> Result<String, LiveError> {
        let service = self.services.iter().filter(|service| service["type"] == kind);
        let mut endpoints = service.filter_map(|service| service["endpoints"].as_array()).flatten();
        let wanted = |endpoint: &&Value| {
            let in_region = self.region.as_ref().is_none_or(|region| endpoint["region_id"] == region.as_str());
            in_region && endpoint["interface"] == self.interface.as_str()
        };
        let url = endpoints.find(wanted).and_then(|endpoint| endpoint["url"].as_str());
        let what = format!("the {} endpoint of the service {kind} in Keystone's catalogue", self.interface);
        http_only(url.ok_or_else(|| LiveError::Cloud(format!("{what} is missing")))?, &what)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLOUDS: &str = "clouds:\n  lab:\n    auth:\n      auth_url: http://10.0.0.5:5000\n      username: admin\n      \
                          password: s3cret\n      project_name: admin\n    region_name: RegionOne\n    verify: false\n";

    #[test]
    fn a_cloud_is_found_by_its_name() {
        let path = Path::new("clouds.yaml");
        let lab = entry(path, CLOUDS, "lab").unwrap();
        assert_eq!((lab.auth.username.as_str(), lab.region_name.as_deref()), ("admin", Some("RegionOne")));
        let error = entry(path, CLOUDS, "prod").unwrap_err().to_string();
        assert_eq!(error, "clouds.yaml has no cloud named \"prod\"; it has: lab");
        assert!(entry(path, "clouds: [1", "lab").unwrap_err().to_string().starts_with("clouds.yaml: "));
    }

    #[test]
    fn a_transport_url_is_taken_apart() {
        let amqp = parse_transport_url("rabbit://nova:p%40ss@10.0.0.5:5673/cell1").unwrap();
        assert_eq!((amqp.user.as_str(), amqp.password.reveal(), amqp.nodes[0].port), ("nova", "p@ss", 5673));
        assert_eq!((amqp.nodes[0].host.as_str(), amqp.vhost.as_str()), ("10.0.0.5", "cell1"));
        assert_eq!(
            parse_transport_url("rabbit://nova:x@host//").map(|amqp| (amqp.vhost, amqp.nodes[0].port)),
            Some(("/".to_owned(), 5672))
        );
        assert!(parse_transport_url("http://nova:x@host/").is_none());
    }

    #[test]
    fn an_endpoint_is_taken_of_the_right_kind_region_and_interface() {
        let endpoint =
            |interface: &str, region: &str, url: &str| json!({"interface": interface, "region_id": region, "url": url});
        let services = vec![json!({"type": "compute", "endpoints": [
            endpoint("internal", "one", "http://internal"),
            endpoint("public", "two", "http://two"),
            endpoint("public", "one", "http://one/v2.1/"),
        ]})];
        let catalogue = Catalogue { services, region: Some("one".to_owned()), interface: "public".to_owned() };
        assert_eq!(catalogue.url("compute").unwrap(), "http://one/v2.1");
        assert!(catalogue.url("image").unwrap_err().to_string().contains("image in Keystone's catalogue is missing"));
        assert_eq!(with_version("http://x/v2.0", "/v2.0"), "http://x/v2.0");
    }
}
