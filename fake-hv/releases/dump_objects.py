#!/usr/bin/env python3
"""Writes what a release's nova-compute says of itself, read from the installed nova.

Usage: dump_objects.py RELEASE > RELEASE/objects.json, with the Python of an environment that has that nova installed.

The file holds the service version, and for each object that nova-compute asks the conductor for the version and the
versions of everything inside it (what `object_class_action_versions` carries), in nova's own order; the RPC interfaces
that it serves, in the order in which oslo.messaging tries them, with what each method takes; the topics that it serves; and
the version of each RPC API that its own clients name.
"""

import ast
import inspect
import json
import re
import sys

from nova import baserpc
from nova import manager as nova_manager
from nova import objects
from nova import rpc
from nova import safe_utils
from nova.compute import manager
from nova.compute import resource_tracker
from nova.compute import rpcapi as compute_rpcapi
from nova.conductor import rpcapi as conductor_rpcapi
from nova.network import neutron
from nova.objects import base
from nova.objects import service
from nova.scheduler import rpcapi as scheduler_rpcapi
from nova.virt import fake
from oslo_messaging._drivers import amqpdriver
from oslo_versionedobjects import base as ovo_base

# The objects whose remotable class methods a nova-compute calls.
ASKED_FOR = [
    "BlockDeviceMappingList", "ComputeNode", "ComputeNodeList", "ConsoleAuthToken", "Instance", "InstanceAction", "InstanceActionEvent",
    "InstanceGroup", "InstanceList", "MigrationList", "PciDeviceList", "ResourceList", "Service", "ShareMappingList",
    "VirtualInterface", "VirtualInterfaceList",
]
# The objects that it sends whole.
SENT = ["ComputeNode", "HVSpec", "InstanceFault", "InstanceInfoCache", "InstanceList", "PciDevicePoolList", "Service", "VirtualInterface"]

# What no method takes.
WRONG = "no_such_argument"


def method(bound):
    """What a method takes beside its context, and who says so when it is given something else."""
    function = safe_utils.get_wrapped_function(bound)
    takes = [name for name in inspect.signature(function).parameters.values() if name.name != "self"]
    if not takes or takes[0].name not in ("context", "ctxt"):
        return None  # for nova-compute itself
    try:
        bound(None, **{WRONG: None})
    except Exception as error:
        while not isinstance(error, TypeError):
            error = error.__context__  # a decorator missed an argument, too
        speaker = str(error).split("()")[0]
    found = {"takes": [name.name for name in takes[1:]]}
    optional = [name.name for name in takes[1:] if name.default is not inspect.Parameter.empty]
    if optional:
        found["optional"] = optional
    # Newer ones count what goes on, by the uuid of its instance, before they call the method.
    skips = "_skip_automatic_rpc_tracking"
    if skips in inspect.getsource(nova_manager) and not getattr(bound, skips, False):
        found["tracked"] = True
    # A method that fails puts back the task state that its instance had.
    if "@reverts_task_state" in inspect.getsource(function):
        found["reverts_task_state"] = True
    # Python itself names the class, too; nova's decorators, which look at the arguments first, do not.
    if speaker != function.__name__:
        found["speaker"] = speaker
    return found


def interface(endpoint, names):
    target = endpoint.target
    found = {name: method(getattr(endpoint, name)) for name in sorted(names) if not name.startswith("_") and name != "target"}
    methods = {name: found for name, found in found.items() if found}
    return {"namespace": target.namespace, "version": target.version, "methods": methods}


def interfaces():
    # Their constructors want a running service; nothing here gets as far as to need one.
    compute = manager.ComputeManager.__new__(manager.ComputeManager)
    proxy = manager._ComputeV5Proxy(compute)
    names = [name for name in dir(manager.ComputeManager) if callable(getattr(manager.ComputeManager, name))]
    base = baserpc.BaseRPCAPI("compute", None)
    return [
        interface(compute, names),
        interface(base, ["ping", "get_backdoor_port"]),
        # It passes on what it does not have itself.
        interface(proxy, names),
    ]


class Client:
    """Stands where nova's RPC clients send, and notes the version that a message names."""

    last = None

    def __init__(self, target, **_):
        self.target = target

    def can_send_version(self, version):
        return True

    def prepare(self, version=None, **_):
        return Client(self.target(version=version) if version else self.target)

    def cast(self, context, method, **_):
        Client.last = self.target.version

    call = cast


def rpc_versions():
    """The version that nova-compute names to each API, as its clients say it without any pin."""
    rpc.get_client = Client
    sends = {
        "conductor": lambda: conductor_rpcapi.ConductorAPI().object_action(None, None, None, None, None),
        "scheduler": lambda: scheduler_rpcapi.SchedulerAPI().update_instance_info(None, None, None),
        "compute_task": lambda: conductor_rpcapi.ComputeTaskAPI().build_instances(None, [], {}, {}, *[None] * 5),
        "baseapi": lambda: baserpc.BaseAPI("conductor").ping(None, None),
    }
    versions = {}
    for api, send in sends.items():
        send()
        versions[api] = Client.last
    return versions


def rpc_topics():
    """The topics that a nova-compute serves: a second one came with graceful shutdown."""
    names = [getattr(compute_rpcapi, name, None) for name in ("RPC_TOPIC", "RPC_TOPIC_ALT")]
    return [name for name in names if name]


def fields_at_start():
    """What is read of each VM when a nova-compute starts (`ComputeManager.init_host`)."""
    source = inspect.getsource(manager.ComputeManager.init_host)
    return ast.literal_eval(re.search(r"expected_attrs ?= ?(\[.*?\])", source, re.DOTALL).group(1))


def looks_for_reply_each_ms():
    """How often oslo.messaging looks whether the answer to a call has come; None: its thread is woken (`ReplyWaiters.get`)."""
    pause = re.search(r"sleep\(([\d.]+)\)", inspect.getsource(amqpdriver.ReplyWaiters.get))
    return round(float(pause.group(1)) * 1000) if pause else None


def main():
    objects.register_all()
    versions = {name: ovo_base.obj_tree_get_versions(name) for name in ASKED_FOR}
    classes = base.NovaObjectRegistry.obj_classes()
    sent = {name: classes[name][0].VERSION for name in SENT}
    driver = fake.FakeDriver.__new__(fake.FakeDriver)  # its constructor wants a running compute service
    traits = {name for name, supported in driver.capabilities_as_traits().items() if supported}
    # Only with such a device on the host (ResourceTracker._should_expose_remote_managed_ports_trait).
    traits.discard("COMPUTE_REMOTE_MANAGED_PORTS")
    json.dump(
        {
            "release": sys.argv[1],
            "service_version": service.SERVICE_VERSION,
            "rpc_versions": rpc_versions(),
            "rpc_topics": rpc_topics(),
            "sent": sent,
            # The tracker adds these to what the driver is capable of.
            "traits": sorted(traits | {name for name in ("COMPUTE_NODE", "OWNER_NOVA") if name in inspect.getsource(resource_tracker)}),
            "fields_at_start": fields_at_start(),
            "looks_for_shares": "get_share_info" in inspect.getsource(manager.ComputeManager._shutdown_instance),
            "forgets_lost_port": "del nw_info[index]" in inspect.getsource(neutron.API._build_network_info_model),
            "keeps_mtu": "'mtu'" in inspect.getsource(neutron.API._gather_port_ids_and_networks),
            "looks_for_reply_each_ms": looks_for_reply_each_ms(),
            "interfaces": interfaces(),
            "object_versions": versions,
        },
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()
