"""Potstill against PyTorch on this machine's CPU: what scripts/bench_cpu.sh runs.

Potstill and PyTorch take turns: in every round `potstill bench step` is timed
once, then each of PyTorch's modes, each in a process of its own
(bench_pytorch.py) that lives through the whole comparison. Both sides read
weights and batch from one file that Potstill writes, and a ratio is printed only
if the first losses (the logits, of an inference) agree.

A ratio is the time of PyTorch's best mode over Potstill's in the same round; the
best mode is the one whose median over the rounds is smallest. Printed are the
median, the smallest and the largest of the rounds' ratios.

    python scripts/bench_cpu.py --potstill bin/potstill --threads 2
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench_pytorch import CASES, MODES

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_pytorch.py")
MEMORY, MEMORY_CASE = "dwpw_train_128_memory", "dwpw_train_128"
GORGONIA, GORGONIA_CASE = "gorgonia_block_64", "block_train_64"
TOLERANCE = 1e-3
BUSY = 0.05


class Failure(Exception):
    pass


class Mode:
    """A process that runs PyTorch in one mode."""

    def __init__(self, name, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, WORKER, name, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, **request):
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failure(f"PyTorch's process ({self.name}) ended: status {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failure(reply["error"])
        return reply

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:  # it is still compiling
            self.process.kill()
            self.process.wait()


def say(*text):
    print(*text, file=sys.stderr, flush=True)


def processor_time():
    """(busy, all) seconds of all processors since the system started, of Linux."""
    with open("/proc/stat") as f:
        t = [int(v) for v in f.readline().split()[1:9]]
    return sum(t) - t[3] - t[4], sum(t)  # all but idle and iowait


class Pause:
    """Rests between two turns, and notes what others do meanwhile: nothing of ours runs then."""

    def __init__(self):
        self.busy = self.all = 0

    def __call__(self):
        time.sleep(0.05)  # PyTorch's threads wait actively for a while
        try:
            busy, total = processor_time()
            time.sleep(0.15)
            now = processor_time()
        except OSError:
            return
        self.busy, self.all = self.busy + now[0] - busy, self.all + now[1] - total

    def share(self):
        return self.busy / max(self.all, 1)


def run_json(*command, env=None):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}: exit status {done.returncode}")
    return json.loads(done.stdout) if done.stdout else None


def difference(what, ours, theirs):
    """The largest relative difference: of each loss, or of logits to the largest of them."""
    if len(ours) != len(theirs):
        raise Failure(f"{len(ours)} results against {len(theirs)}")
    scale = max(map(abs, theirs))
    worst = 0.0
    for a, b in zip(ours, theirs):
        d = abs(a - b) / (scale if what == "infer" else abs(b))
        worst = d if d != d else max(worst, d)
        if worst != worst:
            break
    return worst


class Comparison:
    def __init__(self, o, folder):
        self.o, self.folder, self.pause = o, folder, Pause()
        self.modes = {m: Mode(m, o.threads) for m in MODES}
        self.files, self.rows, self.results, self.notes, self.failed = {}, [], {}, [], []
        self.device = self.torch = ""

    def file(self, name):
        if name not in self.files:
            self.files[name] = os.path.join(self.folder, name + ".safetensors")
            run_json(self.o.potstill, "bench", "step", name, "--save", self.files[name], "--threads", self.o.threads)
        return self.files[name]

    def ours(self, name, seconds=None):
        r = run_json(self.o.potstill, "bench", "step", name, "--load", self.file(name), "--json",
                     "--threads", self.o.threads, "--time", f"{seconds or self.o.time}s")
        self.device = r["device"]
        self.pause()
        return r

    def note(self, text):
        self.notes.append(text)
        say("  " + text)

    def load(self, name):
        """Has every mode load the case, and returns those that compute what Potstill does."""
        ours, good = self.ours(name, 0.01), []
        for mode, worker in self.modes.items():
            begin = time.time()
            try:
                reply = worker.ask(do="load", name=name, file=self.file(name))
            except Failure as e:
                if not mode.startswith("compile") or worker.process.poll() is not None:
                    raise Failure(f"{mode}: {e}") from None
                self.note(f"{name}: {mode} is left out: {e}")
                continue
            self.torch = reply["torch"]
            d = difference(CASES[name][1], ours["check"], reply["check"])
            say(f"  {mode}: loaded in {time.time() - begin:.0f} s, the first results differ by {d:.1e}")
            if not d <= TOLERANCE:
                raise Failure(f"{mode}: the first results differ by {d:.2e} relative, more than {TOLERANCE:.0e}: not the same work")
            good.append(mode)
        return good

    def case(self, name):
        """Times a case in turns and keeps its ratios."""
        modes = self.load(name)
        ours, theirs = [], {m: [] for m in modes}
        for i in range(self.o.rounds):
            ours.append(self.ours(name)["ms"])
            for m in modes:
                theirs[m].append(self.modes[m].ask(do="time", seconds=self.o.time)["ms"])
                self.pause()
            say(f"  round {i + 1}: potstill {ours[-1]:.2f} ms; " + ", ".join(f"{m} {theirs[m][-1]:.2f}" for m in modes))
        best = min(modes, key=lambda m: statistics.median(theirs[m]))
        medians = {m: statistics.median(t) for m, t in theirs.items()}
        self.keep(name, statistics.median(ours), medians, [t / u for t, u in zip(theirs[best], ours)], best, "ms")

    def memory(self):
        """Peak resident sets of fresh processes that run the student's training step."""
        path, ours, theirs, imported = self.file(MEMORY_CASE), [], {m: [] for m in MODES}, 0
        for i in range(min(self.o.rounds, 3)):
            ours.append(self.ours(MEMORY_CASE)["peak_bytes"] / 1e6)
            for m in MODES:
                worker = Mode(m, self.o.threads)
                try:
                    worker.ask(do="load", name=MEMORY_CASE, file=path)
                    reply = worker.ask(do="time", seconds=self.o.time)
                    theirs[m].append(reply["peak_bytes"] / 1e6)
                    imported = reply["import_bytes"] / 1e6
                    self.torch = reply["torch"]
                except Failure as e:
                    if not m.startswith("compile"):
                        raise
                    if i == 0:
                        self.note(f"{MEMORY}: {m} is left out: {e}")
                finally:
                    worker.close()
            say(f"  round {i + 1}: potstill {ours[-1]:.0f} MB; " + ", ".join(f"{m} {t[-1]:.0f}" for m, t in theirs.items() if t))
        if not all(ours):
            raise Failure("this system does not tell the largest resident set")
        medians = {m: statistics.median(t) for m, t in theirs.items() if t}
        best = min(medians, key=medians.get)
        self.keep(MEMORY, statistics.median(ours), medians, [t / u for t, u in zip(theirs[best], ours)], best, "MB")
        self.note(f"{MEMORY}: of PyTorch's figure, {imported:.0f} MB are there after \"import torch\"")

    def gorgonia(self):
        """Gorgonia's Conv2d, BatchNorm and MaxPool2D, forward and backward."""
        env = dict(os.environ, GOMAXPROCS=str(self.o.threads))
        ours, theirs = [], []
        for i in range(self.o.rounds):
            r = self.ours(GORGONIA_CASE)
            g = run_json(self.o.gorgonia, self.file(GORGONIA_CASE), f"{self.o.time}s", env=env)
            d = difference("train", r["check"][:1], g["check"])
            if not d <= TOLERANCE:
                raise Failure(f"the losses {r['check'][0]} and {g['check'][0]} differ by {d:.2e} relative: not the same work")
            ours.append(r["ms"])
            theirs.append(g["ms"])
            say(f"  round {i + 1}: potstill {ours[-1]:.2f} ms, gorgonia {theirs[-1]:.2f}; the losses differ by {d:.1e}")
        self.keep(GORGONIA, statistics.median(ours), {"gorgonia": statistics.median(theirs)},
                  [t / u for t, u in zip(theirs, ours)], "gorgonia", "ms")

    def keep(self, name, ours, theirs, ratios, best, unit):
        self.rows.append((name, unit, ours, theirs, ratios, best))
        self.results[name] = {"ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}

    def run(self, names):
        for name in names:
            say(name)
            try:
                if name == MEMORY:
                    self.memory()
                elif name == GORGONIA:
                    self.gorgonia()
                else:
                    self.case(name)
            except Failure as e:
                self.failed.append(f"{name}: {e}")
                say(f"  {e}")

        if (share := self.pause.share()) > BUSY:
            self.note(f"others kept the processors busy for {100 * share:.0f} % of the time between turns: "
                      "these figures are no measurement; repeat them on a quiet machine")

    def close(self):
        for m in self.modes.values():
            m.close()

    def table(self):
        lines = [["", "", "Potstill", *MODES, "ratio", "min..max", "to"]]
        for name, unit, ours, theirs, ratios, best in self.rows:
            cells = ["-" if m not in theirs else f"{theirs[m]:.2f}" for m in MODES]
            if "gorgonia" in theirs:
                cells = [f"{theirs['gorgonia']:.2f}", "", "", ""]
            lines.append([name, unit, f"{ours:.2f}", *cells, f"{statistics.median(ratios):.2f}",
                          f"{min(ratios):.2f}..{max(ratios):.2f}", best])
        wide = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
        print(f"Potstill ({self.device}) and PyTorch {self.torch}: {self.o.threads} threads, medians of {self.o.rounds} rounds in turns\n")
        for row in lines:
            print("  ".join(c.ljust(w) if i in (0, 1, len(row) - 1) else c.rjust(w) for i, (c, w) in enumerate(zip(row, wide))).rstrip())
        for n in self.notes + ["no ratio for " + f for f in self.failed]:
            print("\n" + n)


def compare(o):
    known = [*CASES, MEMORY, *([GORGONIA] if o.gorgonia else [])]
    names = o.only.split(",") if o.only else known
    if unknown := [n for n in names if n not in known]:
        sys.exit(f"no such case: {', '.join(unknown)}; there are {', '.join(known)}")
    if o.quick:
        o.rounds, o.time = min(o.rounds, 2), min(o.time, 0.2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = tempfile.mkdtemp(prefix="potstill-bench-")
    try:
        c = Comparison(o, folder)
        try:
            c.run(names)
        finally:
            c.close()
    finally:
        shutil.rmtree(folder)
    if o.json:
        print(json.dumps(c.results, indent=2))
    else:
        c.table()
    for f in c.failed:
        say("no ratio for " + f)
    sys.exit(1 if c.failed else 0)


def main():
    p = argparse.ArgumentParser(description="Potstill against PyTorch on the CPU")
    p.add_argument("--potstill", required=True, help="the command")
    p.add_argument("--gorgonia", help="the command made of scripts/bench_gorgonia")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--time", type=float, default=1.0, help="seconds of a measurement, at least")
    p.add_argument("--only", help="names of cases, with commas between")
    p.add_argument("--quick", action="store_true", help="two short rounds: a test of the script, no measurement")
    p.add_argument("--json", action="store_true", help="one object of ratios by name, instead of the table")
    compare(p.parse_args())


if __name__ == "__main__":
    main()
