#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets from recordings of real messages.

Usage: seeds.py RECORDING.jsonl[.gz]... , from anywhere; rewrites the folder `seeds` beside it.

A line of a recording has `exchange`, `routing_key` and `message`, what an envelope carried.
"""

import gzip
import json
import pathlib
import struct
import sys

SEEDS = pathlib.Path(__file__).parent / "seeds"
# Long, and nothing here looks at it.
DULL = ("_context_service_catalog",)
# Characters of an answer that is repeated often.
SMALL = 1500


def read(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as lines:
        return [json.loads(line) for line in lines]


def is_rpc(line):
    return line["routing_key"].startswith("compute") and "method" in line["message"]


def host_line(line):
    message = line["message"]
    if is_rpc(line):
        rpc = {key: value for key, value in message.items() if key not in DULL}
        return {"rpc": {**rpc, "_context_auth_token": "token"}}
    if line["exchange"] != "":
        return None
    if message.get("failure"):
        return {"answer": {"failure": json.loads(message["failure"])["class"]}}
    return {"answer": {"result": message.get("result")}}


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def short(text):
    return struct.pack("B", len(text)) + text


def handshake():
    start = struct.pack(">HHBBI", 10, 10, 0, 9, 0) + struct.pack(">I", 5) + b"PLAIN" + struct.pack(">I", 5) + b"en_US"
    tune = struct.pack(">HHHIH", 10, 30, 2047, 131072, 60)
    open_ok = struct.pack(">HH", 10, 41) + short(b"")
    return [frame(1, 0, payload) for payload in (start, tune, open_ok)]


def delivery(tag, body, part=4000):
    deliver = struct.pack(">HH", 60, 60) + short(tag) + struct.pack(">QB", 1, 0) + short(b"nova") + short(b"compute.h")
    header = struct.pack(">HHQH", 60, 0, len(body), 0)
    parts = [frame(3, 1, body[at:at + part]) for at in range(0, len(body), part)]
    return b"".join([frame(1, 1, deliver), frame(2, 1, header), *parts])


def envelope(message):
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


def frame_seeds(requests, replies):
    opened = handshake() + [frame(1, 1, struct.pack(">HHI", 20, 11, 0))]
    consume_ok = frame(1, 1, struct.pack(">HH", 60, 21) + short(b"7"))
    confirms = frame(1, 1, struct.pack(">HHQB", 60, 80, 1, 0)) + frame(1, 1, struct.pack(">HHQBB", 60, 120, 2, 1, 0))
    returned = frame(1, 1, struct.pack(">HHH", 60, 50, 312) + short(b"NO_ROUTE") + short(b"") + short(b"reply_q"))
    returned += frame(2, 1, struct.pack(">HHQH", 60, 0, 0, 0))
    cancel = frame(1, 1, struct.pack(">HH", 60, 30) + short(b"1") + b"\x00")
    close = frame(1, 1, struct.pack(">HHH", 20, 40, 404) + short(b"NOT_FOUND") + struct.pack(">HH", 0, 0))
    gone = frame(1, 0, struct.pack(">HHH", 10, 50, 320) + short(b"CONNECTION_FORCED") + struct.pack(">HH", 0, 0))
    yield "request", opened + [delivery(b"1", envelope(requests[0]))]
    yield "reply", opened + [consume_ok, delivery(b"7", envelope(replies[0])), frame(8, 0, b"")]
    yield "confirms", opened + [consume_ok, returned, confirms]
    yield "cancel", opened + [cancel, frame(1, 1, struct.pack(">HH", 20, 41))]
    yield "close", opened + [close, gone]


def write(target, name, data):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def write_lines(target, name, lines):
    write(target, name, "\n".join(json.dumps(line, separators=(",", ":")) for line in lines).encode())


def main():
    rpcs, replies = [], []
    for path in map(pathlib.Path, sys.argv[1:]):
        recording = read(path)
        name = path.name.split(".")[0]
        lines = [line for line in map(host_line, recording) if line]
        if any("rpc" in line for line in lines):
            write_lines("host", name, lines)
        else:
            write_lines("host", name, [{"early": True}, *lines])
        rpcs += [line["message"] for line in recording if is_rpc(line)]
        replies += [line["message"] for line in recording if line["exchange"] == "" and not is_rpc(line)]
    vm = next(rpc["args"]["instance"] for rpc in rpcs if "instance" in rpc["args"])
    # Every question of a host gets one of the recorded answers.
    results = [reply["result"] for reply in replies if reply.get("result") and len(str(reply["result"])) < SMALL]
    write_lines("answers", "recorded", [vm, *([number, 200, results[number % len(results)]] for number in range(90))])
    write_lines("answers", "empty", [vm, *([number, 200, {}] for number in range(90))])
    for name, message in (("request", min(rpcs, key=lambda rpc: len(str(rpc)))), ("reply", replies[0])):
        write("envelope", name, json.dumps(message).encode())
    failed = [reply for reply in replies if reply.get("failure")]
    write("envelope", "failure", json.dumps(failed[0]).encode())
    for name, frames in frame_seeds(rpcs, replies):
        # How the stream is cut, and what the host has ordered before.
        write("frames", name, b"\x07\xff" + b"".join(frames))


if __name__ == "__main__":
    main()
