"""The rivals of scripts/bench_cpu.sh as processes: one for each mode, of which only the one that is asked for anything runs.

PyTorch runs at its best: its tuning guide's advice for the C library's allocator, which else gives the activations back to
the system after every step and faults them in again, or jemalloc or tcmalloc, where one is installed and faster.
"""

import ctypes.util
import json
import os
import signal
import subprocess
import sys

from bench_cases import ENGINES, ENGINES_NARROW, ENGINES_QUANTIZED

HERE = os.path.dirname(os.path.abspath(__file__))
KEEP = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "8589934592"}


class Failure(Exception):
    pass


def allocators():
    """The settings of an environment to try, by name."""
    found = {"the C library's allocator, told to keep its memory": KEEP}
    for name in ("jemalloc", "tcmalloc", "tcmalloc_minimal"):
        if library := ctypes.util.find_library(name):
            found[name] = {"LD_PRELOAD": library}
    return found


class Mode:
    """A process that runs one mode. It is stopped while nothing is asked of it, so that no thread of it waits actively."""

    def __init__(self, name, threads, allocator):
        worker = "bench_engines.py" if name in (*ENGINES, *ENGINES_NARROW, *ENGINES_QUANTIZED) else "bench_pytorch.py"
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), **allocator)
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, worker), name, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, **request):
        self.process.send_signal(signal.SIGCONT)
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failure(f"the process of {self.name} ended: status {self.process.wait()}")
        self.process.send_signal(signal.SIGSTOP)
        reply = json.loads(line)
        if "error" in reply:
            raise Failure(reply["error"])
        return reply

    def close(self):
        self.process.stdin.close()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:  # it is still compiling
            self.process.kill()
            self.process.wait()


class Rivals:
    """All modes, each started when it is first needed."""

    def __init__(self, threads):
        self.threads, self.allocator, self.allocator_name = threads, KEEP, next(iter(allocators()))
        self.modes = {}
        self.versions = {}

    def mode(self, name):
        if name not in self.modes:
            self.modes[name] = Mode(name, self.threads, self.allocator)
        return self.modes[name]

    def fresh(self, name):
        return Mode(name, self.threads, self.allocator)

    def ask(self, mode, /, **request):
        reply = self.mode(mode).ask(**request)
        self.versions[reply["version"]] = True
        return reply

    def alive(self, name):
        return name not in self.modes or self.modes[name].process.poll() is None

    def choose_allocator(self, work, file, seconds, say):
        """Keeps the allocator under which PyTorch's eager training step is fastest."""
        best = None
        for name, env in allocators().items():
            mode = Mode("eager-channels_last", self.threads, env)
            try:
                mode.ask(do="load", name=work, file=file)
                ms = min(mode.ask(do="time", seconds=seconds)["ms"] for _ in range(2))
            finally:
                mode.close()
            say(f"PyTorch with {name}: {ms:.2f} ms a step of {work}")
            if best is None or ms < best:
                best, self.allocator, self.allocator_name = ms, env, name

    def close(self):
        for m in self.modes.values():
            m.close()
