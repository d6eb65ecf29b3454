"""Calls per second, side by side: the fleet's AMQP client and oslo.messaging's own load generator, simulator.py.

Both have an echo server of their own, in a process of its own, on the same broker, and as many calls under way at once, of the same
size, which come back whole. They take turns, so that a machine that is faster at one time than at another is so for both. With the
broker's process id it says how busy the broker was: all that is left of the machine's cores beside it is what a client could still gain.

    pip download --no-deps --no-binary :all: oslo.messaging==18.3.1 && tar xf oslo_messaging-18.3.1.tar.gz
    python3 -m venv peer && peer/bin/pip install oslo.messaging==18.3.1 eventlet pyyaml
    cargo build --release -p fake-hv --example amqp_clients
    export KAGEMUSHA_TEST_AMQP_URL=amqp://user:password@127.0.0.1:5672/vhost     # a RabbitMQ that is there
    python3 benches/rpc_rate/compare.py --peer peer/bin/python --broker "$(pgrep -o beam.smp)" oslo_messaging-18.3.1/tools/simulator.py
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

# simulator.py draws sizes from buckets of 500 bytes: this one is 1,501 to 2,000.
PEER_BYTES = 1750
OURS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release/examples/amqp_clients"


def cpu_s(pid):
    """User and system time of a process that runs, with that of its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """An echo server, for as long as a turn lasts."""

    def __init__(self, command, cwd):
        self.process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        time.sleep(3)
        return self.process

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Load:
    """How busy the machine and the broker are while a client runs, in cores; of the broker `None` without its id."""

    def __init__(self, broker):
        self.broker = broker

    def read(self):
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        busy_s = (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy_s, cpu_s(self.broker) if self.broker else 0.0

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *_):
        took, busy, broker = (after - before for after, before in zip(self.read(), self.before))
        self.machine_cores = busy / took
        self.broker_cores = broker / took if self.broker else None


def ours(under_way, duration_s, load):
    """Calls per second, and CPU seconds of client and server for a thousand of them."""
    with Server([OURS, "echo"], None) as server:
        before = cpu_s(server.pid)
        command = [OURS, "rate", str(under_way), str(duration_s), str(PEER_BYTES)]
        with load:
            run = subprocess.run(command, check=True, capture_output=True, text=True)
        result = json.loads(run.stdout)
        used = result["cpu_s"] + cpu_s(server.pid) - before
    return result["calls"] / result["took_s"], 1000 * used / result["calls"]


def peer(python, folder, url, under_way, duration_s, load):
    """The same of simulator.py."""
    program = [python, "simulator.py", "--url", url, "-tp", "rate", "-s", "echo", "-tg", "rate.echo", "-l"]
    with Server([*program, str(duration_s + 20), "rpc-server"], folder) as server:
        before = cpu_s(server.pid)
        log = folder / "client.json"
        client = subprocess.Popen(
            [*program, str(duration_s), "-j", log, "rpc-client", "-p", str(under_way), "-m", "1000", "--timeout", "60"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client_cpu = 0.0
        with load:
            while client.poll() is None:
                try:
                    client_cpu = cpu_s(client.pid)
                except (FileNotFoundError, ProcessLookupError, IndexError):
                    pass
                time.sleep(0.2)
        used = client_cpu + cpu_s(server.pid) - before
    series = json.loads(log.read_text())["series"]
    # Without answers it would be a comparison with nothing.
    calls = sum(second["count"] for name, seconds in series.items() if name.startswith("round_trip") for second in seconds)
    if not calls:
        raise SystemExit("simulator.py got no answers")
    return calls / duration_s, 1000 * used / calls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("simulator", type=pathlib.Path, help="oslo.messaging's tools/simulator.py")
    parser.add_argument("--peer", required=True, help="a Python that has oslo.messaging and eventlet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10, help="of each turn")
    parser.add_argument("--under-way", type=int, default=64, help="calls at once")
    parser.add_argument("--broker", type=int, metavar="PID", help="process id of the broker")
    options = parser.parse_args()
    load = Load(options.broker)
    url = os.environ["KAGEMUSHA_TEST_AMQP_URL"].replace("amqp://", "rabbit://", 1)
    rates = {"fleet": [], "simulator.py": []}
    costs = {"fleet": [], "simulator.py": []}
    cores = {"fleet": [], "simulator.py": []}
    python = os.path.abspath(options.peer) if os.sep in options.peer else options.peer
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copy(options.simulator, folder / "simulator.py")
        (folder / "messages_length.yaml").write_text(f'test_data:\n  string_lengths: "{PEER_BYTES}"\n')
        for number in range(options.rounds):
            turns = {
                "fleet": lambda: ours(options.under_way, options.seconds, load),
                "simulator.py": lambda: peer(python, folder, url, options.under_way, options.seconds, load),
            }
            for name, turn in turns.items():
                rate, cost = turn()
                rates[name].append(rate)
                costs[name].append(cost)
                cores[name].append((load.machine_cores, load.broker_cores))
                print(f"round {number + 1}: {name:12} {rate:8.0f} calls/s, {cost:6.3f} ms of CPU for each", flush=True)
    print(f"\n{'':12} {'calls/s':>22} {'CPU for each call':>24}")
    for name in rates:
        middle, low, high = statistics.median(rates[name]), min(rates[name]), max(rates[name])
        print(f"{name:12} {middle:8.0f} ({low:.0f} to {high:.0f}) {statistics.median(costs[name]):17.3f} ms")
    print()
    for name, seen in cores.items():
        machine = statistics.median(machine for machine, _ in seen)
        broker = f", the broker {statistics.median(broker for _, broker in seen):.2f}" if options.broker else ""
        print(f"{name:12} cores in use: {machine:.2f} of {os.cpu_count()}{broker}")
    ratios = [ours_ / peer_ for ours_, peer_ in zip(rates["fleet"], rates["simulator.py"])]
    cheaper = [peer_ / ours_ for ours_, peer_ in zip(costs["fleet"], costs["simulator.py"])]
    print(f"\nthe fleet makes {statistics.median(ratios):.1f} times as many calls (round by round {min(ratios):.1f} to "
          f"{max(ratios):.1f}), each with {statistics.median(cheaper):.1f} times less CPU in client and server")


if __name__ == "__main__":
    main()
