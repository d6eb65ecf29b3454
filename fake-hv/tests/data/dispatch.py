#!/usr/bin/env python3
"""Makes dispatch.json: requests that nova-compute refuses, and how it refuses them.

Usage: dispatch.py > dispatch.json, with the Python of an environment that has nova of release 2026.2 installed.

The messages go through oslo.messaging's dispatcher to nova's own endpoints, as in `nova/service.py`. None gets as far as to
need a manager that was started.
"""

import json
import sys
import threading

from oslo_messaging._drivers import common
from oslo_messaging.rpc import dispatcher

from nova import baserpc
from nova import objects
from nova import rpc
from nova import service
from nova.compute import manager
from nova.objects import base

INSTANCE = {
    "nova_object.name": "Instance", "nova_object.namespace": "nova", "nova_object.version": "2.8",
    "nova_object.data": {"uuid": "b61f6df3-c1dc-4cfa-911a-55529030333d"},
}


def without(key):
    return {name: value for name, value in INSTANCE.items() if name != key}


STOP = {"instance": INSTANCE, "clean_shutdown": True}
CASES = [
    {"method": "stop_instance", "version": "6.99", "args": STOP},
    {"method": "stop_instance", "version": "7.0", "args": STOP},
    {"method": "stop_instance", "version": "5.14", "args": STOP},
    {"method": "stop_instance", "args": STOP},
    {"method": "stop_instance", "namespace": "compute", "version": "6.0", "args": STOP},
    {"method": "stop_instance", "version": "six", "args": STOP},
    {"method": "stop_instance", "version": "6", "args": STOP},
    {"method": "stop_instance", "version": "6.x", "args": STOP},
    {"method": "stop_instance", "version": "6.5.1", "args": STOP},
    {"method": "dance", "version": "6.0", "args": {}},
    {"method": "dance", "version": "5.0", "args": {}},
    {"method": "_sync_power_states", "version": "6.0", "args": {}},
    {"method": "dance", "namespace": "baseapi", "version": "1.0", "args": {}},
    {"method": "ping", "namespace": "baseapi", "version": "1.2", "args": {"arg": 1}},
    {"method": "ping", "namespace": "baseapi", "version": "1.0", "args": {}},
    {"method": "ping", "namespace": "baseapi", "version": "1.0", "args": {"arg": 1, "more": 2}},
    {"method": "ping", "namespace": "baseapi", "version": "1.0", "args": [1]},
    {"method": "ping", "namespace": "baseapi", "version": "1.0", "args": None},
    {"method": "stop_instance", "version": "6.0", "args": {"instance": INSTANCE}},
    {"method": "stop_instance", "version": "6.0", "args": {"clean_shutdown": True}},
    {"method": "stop_instance", "version": "6.0", "args": {}},
    {"method": "stop_instance", "version": "6.0", "args": {**STOP, "hard": True}},
    {"method": "stop_instance", "version": "5.0", "args": {**STOP, "hard": True}},
    {"method": "swap_volume", "version": "6.0", "args": {}},
    {"method": "cache_images", "version": "6.0", "args": {}},
    {"method": "get_console_output", "version": "6.0", "args": {"tail_length": 1}},
    {"method": "finish_resize", "version": "5.0", "args": {}},
    {"method": "shelve_instance", "version": "5.0", "args": {**STOP, "image_id": 1, "accel": 1}},
    {"method": "terminate_instance", "version": "6.0", "args": {"bdms": []}},
    {"method": "build_and_run_instance", "version": "6.0", "args": {"instance": INSTANCE}},
    {"method": "build_and_run_instance", "version": "6.0", "args": {"instance": 5}},
    {"method": "stop_instance", "version": "6.0", "args": {**STOP, "instance": without("nova_object.namespace")}},
    {"method": "stop_instance", "version": "6.0", "args": {**STOP, "instance": without("nova_object.version")}},
    {"method": "stop_instance", "version": "6.0", "args": {**STOP, "instance": without("nova_object.data")}},
    {"method": "stop_instance", "version": "6.0", "args": {**STOP, "instance": {**INSTANCE, "nova_object.namespace": "moon"}}},
]
for odd in (None, True, 5, 0.5, "text", [], {}, without("nova_object.name")):
    CASES.append({"method": "stop_instance", "version": "6.0", "args": {**STOP, "instance": odd}})


class Incoming:
    """A message as the dispatcher gets it."""

    client_timeout = None

    def __init__(self, message):
        self.message = message
        self.ctxt = {"request_id": "req-1", "is_admin": True}


def compute_manager():
    compute = manager.ComputeManager.__new__(manager.ComputeManager)
    # What its constructor makes for the count of what is going on.
    compute._shutdown_in_progress = threading.Event()
    compute._in_progress_tasks = {}
    compute._failed_tasks = {}
    compute._completed_task_count = 0
    compute._in_progress_task_key_counter = 0
    compute._in_progress_task_cond = threading.Condition()
    return compute


def main():
    objects.register_all()
    compute = compute_manager()
    endpoints = [
        service._TrackingEndpointWrapper(compute),
        baserpc.BaseRPCAPI("compute", None),
        service._TrackingEndpointWrapper(manager._ComputeV5Proxy(compute), compute),
    ]
    serializer = rpc.RequestContextSerializer(base.NovaObjectSerializer())
    server = dispatcher.RPCDispatcher(endpoints, serializer, dispatcher.DefaultRPCAccessPolicy)
    made = []
    for message in CASES:
        try:
            server.dispatch(Incoming(json.loads(json.dumps(message))))
        except Exception:
            failure = json.loads(common.serialize_remote_exception(sys.exc_info()))
            raised = {name: failure[name] for name in ("class", "module", "message", "args")}
            made.append({"message": message, "raised": raised})
        else:
            raise SystemExit(f"it was carried out: {message}")
    json.dump({"cases": made}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
