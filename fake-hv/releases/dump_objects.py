#!/usr/bin/env python3
"""Writes what a release's nova-compute says of itself, read from the installed nova.

Usage: dump_objects.py RELEASE > RELEASE/objects.json, with the Python of an environment that has that nova installed.

The file holds the service version, and for each object that nova-compute asks the conductor for the version and the
versions of everything inside it (what `object_class_action_versions` carries), in nova's own order.
"""

import json
import sys

from nova import objects
from nova.objects import base
from nova.objects import service
from nova.virt import fake
from oslo_versionedobjects import base as ovo_base

# The objects whose remotable class methods a nova-compute calls.
ASKED_FOR = [
    "BlockDeviceMappingList", "ComputeNode", "ComputeNodeList", "ConsoleAuthToken", "Instance", "InstanceActionEvent",
    "InstanceList", "MigrationList", "PciDeviceList", "ResourceList", "Service", "ShareMappingList", "VirtualInterface",
]
# The objects that it sends whole.
SENT = ["ComputeNode", "HVSpec", "InstanceFault", "InstanceInfoCache", "InstanceList", "PciDevicePoolList", "Service", "VirtualInterface"]


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
            "sent": sent,
            # The tracker adds these two to what the driver is capable of.
            "traits": sorted(traits | {"COMPUTE_NODE", "OWNER_NOVA"}),
            "object_versions": versions,
        },
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    main()
