#!/usr/bin/env python3
"""Writes what a release's Open vSwitch agent says of itself, read from the installed neutron.

Usage: dump_agent.py RELEASE > RELEASE/agent.json, with the Python of an environment that has that neutron installed.

The file holds the topics of its RPC servers in the order they start, the versions of the resources it keeps, the
version that each of its calls has, and what its request contexts have that those of other releases have not.
"""

import json
import sys

from neutron import objects
from neutron.agent import rpc as agent_rpc
from neutron.api.rpc.callbacks import resources
from neutron.api.rpc.handlers import resources_rpc
from neutron_lib import context, rpc
from neutron_lib.agent import topics
from neutron_lib.plugins.ml2 import ovs_constants as constants
from oslo_config import cfg


NOT_EVERYWHERE = ("tenant_id", "tenant_name", "has_global_access", "can_set_project_id")


class Client:
    """In the place of the RPC client: notes what is called."""

    def __init__(self, target):
        self.version = target.version
        self.calls = {}

    def prepare(self, version=None, **_):
        return Prepared(self, version or self.version)


class Prepared:
    def __init__(self, client, version):
        self.client = client
        self.version = version

    def call(self, _context, method, **_):
        self.client.calls[method] = self.version
        return [] if method == "bulk_pull" else {}


def main():
    # A context asks the policies, which are looked for in the configuration.
    cfg.CONF([], project="neutron")
    objects.register_objects()
    rpc.get_client = lambda target, **_: Client(target)
    cfg.CONF.register_opts([cfg.IntOpt("report_interval", default=30)], group="AGENT")
    cached = agent_rpc.CacheBackedPluginApi.RESOURCE_TYPES

    state = agent_rpc.PluginReportStateAPI(topics.REPORTS)
    state.has_alive_neutron_server(None)
    state.report_state(None, {}, True)
    plugin = agent_rpc.PluginApi(topics.PLUGIN)
    plugin.get_network_details(None, "network", "agent")
    plugin.update_device_down(None, "port", "agent")
    plugin.update_device_list(None, ["port"], [], "agent", "host")
    pull = resources_rpc.ResourcesPullRpcApi()
    pull.bulk_pull(None, resources.PORT)

    admin = context.get_admin_context_without_session().to_dict()
    versioned = resources_rpc.resource_type_versioned_topic
    notified = [(constants.TUNNEL, topics.UPDATE), (constants.TUNNEL, topics.DELETE), (topics.DVR, topics.UPDATE)]
    json.dump(
        {
            "release": sys.argv[1],
            "resource_topics": [versioned(kind) for kind in cached],
            "notification_topics": [topics.get_topic_name(topics.AGENT, *it) for it in notified]
            # The trunk driver's.
            + [versioned(kind) for kind in (resources.SUBPORT, resources.TRUNK)],
            "plugin_topic": topics.PLUGIN,
            "report_topic": topics.REPORTS,
            "call_versions": {**state.client.calls, **plugin.client.calls, **pull.client.calls},
            "context": {field: admin[field] for field in NOT_EVERYWHERE if field in admin},
            "resource_versions": resources.LOCAL_RESOURCE_VERSIONS,
        },
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()
