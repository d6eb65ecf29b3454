#!/usr/bin/env python3
"""Writes the catalogue of the options that an OpenStack release knows.

Run it with the Python of an environment that holds the release's packages:

    VENV/bin/python dump_options.py 2026.2 > ../../scenarios/options/2026.2.json

The packages say themselves which options they have (the entry points ``oslo.config.opts``, the same that the packages'
sample configuration files are made from), so nothing here is typed by hand but which packages belong to which service,
and which options the harness sets itself.
"""

import importlib.metadata
import json
import multiprocessing
import sys

from keystoneauth1 import loading
from oslo_config import cfg

# What each service loads into its one configuration.
COMMON = ["oslo.log", "oslo.db", "oslo.policy", "oslo.middleware", "oslo.middleware.cors",
          "oslo.middleware.healthcheck", "oslo.middleware.http_proxy_to_wsgi", "oslo.middleware.sizelimit",
          "oslo.concurrency", "oslo.reports", "osprofiler"]
SERVICE = ["oslo.messaging", "oslo.service.service", "oslo.service.periodic_task", "oslo.service.wsgi",
           "oslo.versionedobjects", "oslo.limit", "oslo.privsep", "cotyledon"]
AUTH = ["keystonemiddleware.auth_token", "keystonemiddleware.audit"]
NAMESPACES = {
    "nova": ["nova.conf", "oslo.cache", "os_vif", "os_brick", "castellan.config", *COMMON, *SERVICE, *AUTH],
    "keystone": ["keystone", "oslo.cache", "oslo.messaging", *COMMON],
    "placement": ["placement.conf", *COMMON, *AUTH],
    "glance": ["glance", "glance.api", "glance.cache", "glance.store", "glance.multi_store", "oslo.cache",
               *COMMON, *SERVICE, *AUTH],
    "neutron": ["neutron", "neutron.db", "neutron.extensions", "neutron.experimental", "neutron.base.agent",
                "neutron.ml2", "neutron.az.agent", "nova.auth", "placement.auth", "oslo.cache",
                *COMMON, *SERVICE, *AUTH],
}
# Libraries that not every release uses.
NOT_EVERYWHERE = ["cotyledon"]

# The APIs' own servers, which older releases still have, are not what serves them here.
API_WORKERS = "[cloud.wsgi], for uWSGI serves the API"

# Options that are the harness's own: it could not reach, start or stop the cloud if they said something else.
OWNED = {
    "DEFAULT.transport_url": "the broker of the cloud",
    "DEFAULT.rpc_backend": "the broker of the cloud",
    "database.connection": "the database of the cloud",
    "api_database.connection": "the database of the cloud",
    "placement_database.connection": "the database of the cloud",
    "DEFAULT.log_file": "the state folder's logs",
    "DEFAULT.log_dir": "the state folder's logs",
    "DEFAULT.state_path": "the state folder",
    "oslo_concurrency.lock_path": "the state folder",
    "keystone_authtoken.memcached_servers": "the memcached of the cloud",
    "cache.memcache_servers": "the memcached of the cloud",
    "fernet_tokens.key_repository": "the state folder",
    "fernet_receipts.key_repository": "the state folder",
    "credential.key_repository": "the state folder",
    "glance_store.filesystem_store_datadir": "the state folder",
    "paste_deploy.config_file": "the environment of the release",
    "DEFAULT.api_paste_config": "the environment of the release",
    "wsgi.api_paste_config": "the environment of the release",
    "DEFAULT.osapi_compute_workers": API_WORKERS,
    "DEFAULT.metadata_workers": "there is no metadata API",
    "DEFAULT.api_workers": API_WORKERS,
    "DEFAULT.workers": API_WORKERS,
}
# How each service reaches the others: every option of these sections with such a name is the harness's own.
OWNED_AUTH_SECTIONS = ["keystone_authtoken", "service_user", "placement", "neutron", "glance", "nova", "keystone"]
OWNED_AUTH_NAMES = ["auth_url", "auth_type", "username", "password", "project_name", "user_domain_name",
                    "project_domain_name", "www_authenticate_uri", "endpoint_override", "api_servers"]

# Not options of the packages: how many processes and threads serve each API.
WSGI = {"keystone": (2, 4), "placement": (1, 4), "glance": (1, 4), "neutron": (1, 4), "nova": (2, 4)}
# Where the application patches itself for eventlet when it is loaded, a process has one thread: eventlet's locks do not hold
# between native threads.
WSGI_OF = {"2024.2": {"neutron": (2, 1), "nova": (4, 1)}}


def type_name(kind):
    """The name of an option's type, as the catalogue writes it."""
    name = getattr(kind, "__name__", None) or type(kind).__name__
    return "string" if name == "str" else name.lower()


def bound(kind, which):
    value = getattr(kind, which, None)
    return value if isinstance(value, (int, float)) else None


def choices(kind):
    found = getattr(kind, "choices", None)
    if not found:
        return None
    return [plain(choice) for choice in found]


def plain(value):
    """A value as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def default(option):
    """The release's default; the machine's own name or folders are no default to compare with."""
    value = getattr(option, "sample_default", None)
    return plain(value if value is not None else option.default)


def owned(section, name):
    reason = OWNED.get(f"{section}.{name}")
    if reason is None and section in OWNED_AUTH_SECTIONS and name in OWNED_AUTH_NAMES:
        reason = "how the services of the cloud reach each other"
    return reason


def describe(section, option):
    kind = option.type
    entry = {
        "type": "multi" if option.multi else type_name(kind),
        "default": default(option),
        "min": bound(kind, "min"),
        "max": bound(kind, "max"),
        "choices": choices(kind),
        "deprecated": [f"{old.group or section}.{(old.name or option.name).replace('-', '_')}"
                       for old in option.deprecated_opts],
        "help": " ".join((option.help or "").split())[:160],
    }
    if option.deprecated_for_removal:
        entry["deprecated_for_removal"] = " ".join((option.deprecated_reason or "").split())[:160]
    reason = owned(section, option.dest)
    if reason:
        entry["owned"] = reason
    return entry


def load(namespace):
    points = importlib.metadata.entry_points(group="oslo.config.opts", name=namespace)
    for point in points:
        return point.load()()
    if namespace in NOT_EVERYWHERE:
        return []
    raise SystemExit(f"no installed package has the options of {namespace}")


def auth_options():
    """What the password plugin of keystoneauth adds to a section that logs in."""
    return loading.get_auth_plugin_conf_options("password")


def service_options(namespaces):
    options = {}
    if any(namespace.startswith("keystonemiddleware") for namespace in namespaces):
        for option in auth_options():
            options[f"keystone_authtoken.{option.dest}"] = describe("keystone_authtoken", option)
    for namespace in namespaces:
        for group, members in load(namespace):
            section = group.name if isinstance(group, cfg.OptGroup) else (group or "DEFAULT")
            for option in members:
                options.setdefault(f"{section}.{option.dest}", describe(section, option))
    return dict(sorted(options.items()))


def in_a_process_of_its_own(function, *args):
    """Some packages register options when they are imported, and clash there with those of another service."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def wsgi_options(release):
    options = {}
    for service, counts in {**WSGI, **WSGI_OF.get(release, {})}.items():
        for name, value in zip(("processes", "threads"), counts):
            options[f"{service}.{name}"] = {
                "type": "integer", "default": value, "min": 1, "max": 64, "choices": None, "deprecated": [],
                "help": f"uWSGI {name} of {service}'s API, behind nginx",
            }
    return options


def main():
    release = sys.argv[1]
    services = {service: in_a_process_of_its_own(service_options, namespaces)
                for service, namespaces in NAMESPACES.items()}
    services["wsgi"] = wsgi_options(release)
    lines = []
    for service, options in services.items():
        body = ",\n".join(f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}"
                          for name, entry in options.items())
        lines.append(f"{json.dumps(service)}:{{\n{body}\n}}")
    print(f'{{"release":{json.dumps(release)},"services":{{\n' + ",\n".join(lines) + "\n}}")


if __name__ == "__main__":
    main()
