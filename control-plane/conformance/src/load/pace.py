# The same piece of work again and again, as an OpenStack service does it: messages are written and read. It ends with its input,
# and tells how often it did it and the CPU that this took, in seconds.
import json
import sys
import threading
import time

EVERY_S = 0.1
RECORDS = 40

message = {
    "method": "object_action",
    "args": {"records": [{"id": number, "name": "host-%05d" % number, "at": None} for number in range(RECORDS)]},
}


def work():
    for _ in range(20):
        inner = json.loads(json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}))
        records = json.loads(inner["oslo.message"])["args"]["records"]
        sorted({record["name"]: record for record in records})


ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
done, cpu_s = 0, 0.0
while not ended.wait(EVERY_S):
    before = time.thread_time()
    work()
    cpu_s += time.thread_time() - before
    done += 1
print(done, cpu_s)
