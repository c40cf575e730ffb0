"""What every rival of scripts/bench_cpu.sh does alike: it is driven line by line, and timed as `potstill bench step` times itself.

Each line of standard input is a JSON object, and is answered by one line of standard output:

    {"do": "load", "name": WORK, "file": FILE}   builds the work from Potstill's file, runs its first steps
    {"do": "time", "seconds": S}                 times steps from the file's weights on, for S seconds at least
"""

import gc
import json
import os
import resource
import statistics
import sys
import time

from bench_cases import CHECK_STEPS


def status_bytes(key):
    """A figure of /proc/self/status (VmHWM: the largest resident set so far)."""
    try:
        with open("/proc/self/status") as f:
            for line in f:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def measure(step, seconds):
    """The median time of a step in milliseconds, as potstill's bench takes it."""
    step.reset()
    for _ in range(CHECK_STEPS + 1):  # as many as potstill runs first
        step.step()
    gc.collect()
    gc.disable()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        t = time.perf_counter()
        step.step()
        times.append(time.perf_counter() - t)
    gc.enable()
    return 1e3 * statistics.median(times)


def serve(start, load, other=None):
    """Answers each line of standard input. start imports what is to be measured and names it; load returns an object with
    step, reset and check; other has what else can be asked for."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed must not get between the replies
    version = start()
    imported = status_bytes("VmRSS")
    step = None
    for line in sys.stdin:
        request, reply = json.loads(line), {}
        try:
            if request["do"] == "load":
                step = None
                gc.collect()
                step = load(request)
                reply = {"check": step.check()}
            elif request["do"] == "time":
                reply = {"ms": measure(step, request["seconds"])}
            else:
                other[request["do"]](request)
            reply |= {"peak_bytes": status_bytes("VmHWM"), "import_bytes": imported, "version": version}
        except Exception as e:  # noqa: BLE001: the driver decides what it means
            text = [s.strip() for s in str(e).splitlines() if s.strip()]
            reply = {"error": f"{type(e).__name__}: {text[0] if text else ''}"}
        print(json.dumps(reply), file=replies, flush=True)
