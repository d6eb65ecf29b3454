//! The releases that this harness can bring up. What differs between them lies in `releases/NAME/`.

use crate::{UpError, WSGI_SERVICES};

/// A release of OpenStack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) name: &'static str,
    /// What builds the source-only packages, with hashes.
    pub(crate) build_lock: &'static str,
    /// Every Python package of the release, with hashes.
    pub(crate) lock: &'static str,
    /// Module and name of each API's WSGI application, as uWSGI takes them, in the order of [`WSGI_SERVICES`]. What ends with
    /// `()` is called and returns it.
    applications: [&'static str; WSGI_SERVICES.len()],
}

/// All releases, newest first.
const ALL: [Release; 2] = [
    Release {
        name: "2026.2",
        build_lock: include_str!("../../releases/2026.2/build.txt"),
        lock: include_str!("../../releases/2026.2/requirements.txt"),
        applications: [
            "keystone.wsgi.api:application",
            "placement.wsgi.api:application",
            "glance.wsgi.api:application",
            "neutron.wsgi.api:application",
            "nova.wsgi.osapi_compute:application",
        ],
    },
    Release {
        name: "2024.2",
        build_lock: include_str!("../../releases/2024.2/build.txt"),
        lock: include_str!("../../releases/2024.2/requirements.txt"),
        // What the first three's scripts for WSGI servers call: modules for it came with 2025.1.
        applications: [
            "keystone.server.wsgi:initialize_public_application()",
            "placement.wsgi:init_application()",
            "glance.common.wsgi_app:init_app()",
            "neutron.wsgi.api:application",
            "nova.wsgi.osapi_compute:application",
        ],
    },
];

/// Names of the releases that can be brought up, newest first.
pub const RELEASES: [&str; ALL.len()] = [ALL[0].name, ALL[1].name];

/// The release of this name.
pub(crate) fn find(name: &str) -> Result<Release, UpError> {
    ALL.into_iter().find(|release| release.name == name).ok_or_else(|| {
        UpError::invalid(format!("release {name} is not known; these can be brought up: {}", RELEASES.join(", ")))
    })
}

impl Release {
    /// What uWSGI loads for an API of [`WSGI_SERVICES`].
    pub(crate) fn application(&self, service: &str) -> &'static str {
        let at = WSGI_SERVICES.iter().position(|known| *known == service);
        self.applications[at.expect("only the APIs are asked for")]
    }

    /// Versions of the release's own packages and of what their load depends on, by name.
    pub(crate) fn packages(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        const SHOWN: [&str; 13] = [
            "keystone",
            "openstack-placement",
            "glance",
            "neutron",
            "nova",
            "keystonemiddleware",
            "oslo-messaging",
            "oslo-db",
            "oslo-service",
            "sqlalchemy",
            "pymysql",
            "eventlet",
            "uwsgi",
        ];
        let pins = self.lock.lines().filter_map(|line| line.split_whitespace().next()?.split_once("=="));
        pins.filter(|(name, _)| SHOWN.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_is_found_and_locks_what_it_shows() {
        for name in RELEASES {
            let release = find(name).unwrap();
            assert_eq!(release.name, name);
            assert_eq!(release.packages().count(), 13, "{:?}", release.packages().collect::<Vec<_>>());
        }
        assert!(find("2013.2").unwrap_err().to_string().contains("2026.2, 2024.2"));
    }

    #[test]
    fn every_package_is_locked_by_hash_and_no_host_is_named() {
        for release in ALL {
            for text in [release.lock, release.build_lock] {
                assert!(!text.contains("://"), "a host is named in the lock of {}", release.name);
                let pins = text.lines().filter(|line| line.contains("==")).collect::<Vec<_>>();
                assert!(!pins.is_empty() && pins.iter().all(|line| line.ends_with('\\')), "{}", release.name);
            }
        }
    }
}
