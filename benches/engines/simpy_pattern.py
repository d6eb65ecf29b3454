"""The pattern in SimPy, in the way of its tutorial: a process for each client and for each request."""

import json
import random
import resource
import sys
import time

import simpy

INTERVAL_S, TIMEOUT_S, LINK_S = 10.0, 60.0, 100e-6
SERVERS, UTILISATION, LOST = 16, 0.8, 0.001


def main(clients, requests):
    length_s = INTERVAL_S * requests / clients
    mean_service_s = INTERVAL_S * UTILISATION * SERVERS / clients
    tally = {"answers": 0, "timeouts": 0, "latency_ns": 0.0}
    env = simpy.Environment()
    servers = simpy.Resource(env, SERVERS)

    def serve(reply):
        with servers.request() as turn:
            yield turn
            yield env.timeout(random.expovariate(1 / mean_service_s))
        yield env.timeout(LINK_S)
        if not reply.triggered:
            reply.succeed()

    def client():
        yield env.timeout(random.uniform(0, INTERVAL_S))
        while True:
            sent_s = env.now
            reply, timeout = env.event(), env.timeout(TIMEOUT_S)
            if random.random() >= LOST:
                env.process(serve(reply))
            yield reply | timeout
            if reply.triggered:
                tally["answers"] += 1
                tally["latency_ns"] += (env.now - sent_s) * 1e9
            else:
                tally["timeouts"] += 1
            yield env.timeout(INTERVAL_S - (env.now - sent_s) % INTERVAL_S)

    random.seed(1)
    begun = time.perf_counter()
    for _ in range(clients):
        env.process(client())
    env.run(until=length_s)
    elapsed_s = time.perf_counter() - begun
    tally["latency_ns"] = int(tally["latency_ns"])
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"tally": tally, "elapsed_s": elapsed_s, "peak_kib": peak_kib}))


main(int(sys.argv[1]), int(sys.argv[2]))
