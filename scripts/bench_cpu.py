"""Potstill against PyTorch, ONNX Runtime and OpenVINO on this machine's CPU: what scripts/bench_cpu.sh runs.

All take turns: in every round `potstill bench step` is timed once, then each mode of the others, each in a process of its
own that lives through the whole comparison and is stopped while it is not its turn. All sides read weights and batch from
one file that Potstill writes, and a ratio is printed only if the first losses (the logits, of an inference) agree.

A ratio is the time of the rivals' best mode over Potstill's in the same round; the best mode is the one whose median over
the rounds is smallest. Printed are the median, the smallest and the largest of the rounds' ratios.

    python scripts/bench_cpu.py --potstill bin/potstill --threads 2
"""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench_cases import BFLOAT16, COMPILE, EAGER, FLOAT32, LONG, PYTORCH, cases, precision_of, tolerance
from bench_rivals import Failure, Rivals

MEMORY, MEMORY_CASE = "dwpw_train_128_memory", "dwpw_train_128"
GORGONIA, GORGONIA_CASE = "gorgonia_block_64", "block_train_64"
GORGONIA_TOLERANCE = 1e-3
BUSY = 0.05


def say(*text):
    print(*text, file=sys.stderr, flush=True)


def processor():
    """The processor's name, with what it can do that matters here."""
    name, flags = platform.processor() or platform.machine(), ""
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    name = value.strip()
                elif key.strip() in ("flags", "Features"):
                    flags = value
    except OSError:
        pass
    known = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8", "asimd", "bf16") if f in flags.split()]
    return f"{name} ({', '.join(known)})" if known else name


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
        time.sleep(0.05)
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
        self.rivals = Rivals(o.threads)
        self.files, self.models, self.rows, self.results, self.notes, self.failed = {}, {}, [], {}, [], []
        self.device, self.chosen = "", False

    def file(self, work):
        """The work's weights and batch."""
        if work not in self.files:
            self.files[work] = os.path.join(self.folder, work + ".safetensors")
            if not os.path.exists(self.files[work]):
                run_json(self.o.potstill, "bench", "step", work, "--save", self.files[work], "--threads", self.o.threads)
        return self.files[work]

    def model(self, work):
        """The work's net as PyTorch exports it, for the engines."""
        if work not in self.models:
            self.models[work] = os.path.join(self.folder, work + ".onnx")
            if os.path.exists(self.models[work]):
                return self.models[work]
            mode = self.rivals.fresh(PYTORCH[0])
            try:
                mode.ask(do="export", name=work, file=self.file(work), out=self.models[work])
            finally:
                mode.close()
        return self.models[work]

    def ours(self, work, precision, seconds=None):
        r = run_json(self.o.potstill, "bench", "step", work, "--load", self.file(work), "--json", "--threads", self.o.threads,
                     "--time", f"{seconds or self.o.time}s", *(["--precision", precision] if precision == BFLOAT16 else []))
        self.device = r["device"]
        self.pause()
        return r

    def note(self, text):
        self.notes.append(text)
        say("  " + text)

    def load(self, work, what, precisions, rivals):
        """Has every mode load the work, and returns those that compute what Potstill does."""
        if what != "infer" and not self.chosen:
            self.chosen = True
            self.rivals.choose_allocator(work, self.file(work), min(self.o.time, 1), say)
        ours, good = {p: self.ours(work, p, 0.01)["check"] for p in precisions}, []
        for mode in rivals:
            request = {"do": "load", "name": work, "file": self.file(work)}
            if not mode.startswith((EAGER, COMPILE)):
                request["onnx"] = self.model(work)
            begin = time.time()
            try:
                reply = self.rivals.ask(mode, **request)
            except Failure as e:
                if mode.startswith(EAGER) or not self.rivals.alive(mode):
                    raise Failure(f"{mode}: {e}") from None
                self.note(f"{work}: {mode} is left out: {e}")
                continue
            for p, check in ours.items():
                if p == FLOAT32 and precision_of(mode) == BFLOAT16:
                    continue  # no case compares these
                d, allowed = difference(what, check, reply["check"]), tolerance(p, mode)
                say(f"  {mode}: loaded in {time.time() - begin:.0f} s, the first results differ from Potstill's in {p} by {d:.1e}")
                if not d <= allowed:
                    raise Failure(f"{mode}: the first results differ by {d:.2e} relative, more than {allowed:.0e}: not the same work")
            good.append(mode)
        return good

    def work(self, work, wanted):
        """Times a work in turns, once for all cases of it that are wanted, and keeps their ratios."""
        what, precisions = wanted[0].what, [c.precision for c in wanted]
        modes = self.load(work, what, precisions, list(dict.fromkeys(m for c in wanted for m in c.rivals)))
        ours, theirs = {p: [] for p in precisions}, {m: [] for m in modes}
        for i in range(self.o.rounds):
            for p in precisions:
                ours[p].append(self.ours(work, p)["ms"])
            for m in modes:
                theirs[m].append(self.rivals.ask(m, do="time", seconds=self.o.time)["ms"])
                self.pause()
            say(f"  round {i + 1}: " + ", ".join(f"potstill {p} {t[-1]:.2f} ms" for p, t in ours.items()) + "; "
                + ", ".join(f"{m} {theirs[m][-1]:.2f}" for m in modes))
        for c in wanted:
            self.keep(c.name, ours[c.precision], {m: theirs[m] for m in c.rivals if m in theirs}, "ms")
        if len(wanted) > 1:
            own, best = ((min(times, key=lambda k: statistics.median(times[k])), times) for times in (ours, theirs))
            self.note(f"{work}: best against best, Potstill's {own[0]} is {statistics.median(ours_best := own[1][own[0]]):.2f} ms, "
                      f"{best[0]} {statistics.median(best[1][best[0]]):.2f}: "
                      f"{statistics.median([t / u for t, u in zip(best[1][best[0]], ours_best)]):.2f} times as fast")

    def memory(self):
        """Peak resident sets of fresh processes that run the student's training step."""
        path, ours, theirs, imported = self.file(MEMORY_CASE), [], {m: [] for m in PYTORCH}, 0
        for i in range(min(self.o.rounds, 3)):
            ours.append(self.ours(MEMORY_CASE, FLOAT32)["peak_bytes"] / 1e6)
            for m in PYTORCH:
                worker = self.rivals.fresh(m)
                try:
                    worker.ask(do="load", name=MEMORY_CASE, file=path)
                    reply = worker.ask(do="time", seconds=self.o.time)
                    theirs[m].append(reply["peak_bytes"] / 1e6)
                    imported = reply["import_bytes"] / 1e6
                    self.rivals.versions[reply["version"]] = True
                except Failure as e:
                    if m.startswith(EAGER):
                        raise
                    if i == 0:
                        self.note(f"{MEMORY}: {m} is left out: {e}")
                finally:
                    worker.close()
            say(f"  round {i + 1}: potstill {ours[-1]:.0f} MB; " + ", ".join(f"{m} {t[-1]:.0f}" for m, t in theirs.items() if t))
        if not all(ours):
            raise Failure("this system does not tell the largest resident set")
        self.keep(MEMORY, ours, {m: t for m, t in theirs.items() if t}, "MB")
        self.note(f"{MEMORY}: of PyTorch's figure, {imported:.0f} MB are there after \"import torch\"")

    def gorgonia(self):
        """Gorgonia's Conv2d, BatchNorm and MaxPool2D, forward and backward."""
        env = dict(os.environ, GOMAXPROCS=str(self.o.threads))
        ours, theirs = [], []
        for i in range(self.o.rounds):
            r = self.ours(GORGONIA_CASE, FLOAT32)
            g = run_json(self.o.gorgonia, self.file(GORGONIA_CASE), f"{self.o.time}s", env=env)
            d = difference("train", r["check"][:1], g["check"])
            if not d <= GORGONIA_TOLERANCE:
                raise Failure(f"the losses {r['check'][0]} and {g['check'][0]} differ by {d:.2e} relative: not the same work")
            ours.append(r["ms"])
            theirs.append(g["ms"])
            say(f"  round {i + 1}: potstill {ours[-1]:.2f} ms, gorgonia {theirs[-1]:.2f}; the losses differ by {d:.1e}")
        self.keep(GORGONIA, ours, {"gorgonia": theirs}, "ms")

    def keep(self, name, ours, theirs, unit):
        """Enters a row: the ratios to the best of the modes."""
        medians = {m: statistics.median(t) for m, t in theirs.items()}
        best = min(medians, key=medians.get)
        ratios = [t / u for t, u in zip(theirs[best], ours)]
        self.rows.append((name, unit, statistics.median(ours), medians, ratios, best))
        self.results[name] = {"ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}

    def run(self, names):
        known, works = cases(), {}
        for name in names:
            if name in known:
                works.setdefault(known[name].work, []).append(known[name])
            else:
                works[name] = None
        for work, wanted in works.items():
            say(work)
            try:
                if work == MEMORY:
                    self.memory()
                elif work == GORGONIA:
                    self.gorgonia()
                else:
                    self.work(work, wanted)
            except Failure as e:
                self.failed += [f"{c.name}: {e}" for c in wanted] if wanted else [f"{work}: {e}"]
                say(f"  {e}")
        if (share := self.pause.share()) > BUSY:
            self.note(f"others kept the processors busy for {100 * share:.0f} % of the time between turns: "
                      "these figures are no measurement; repeat them on a quiet machine")

    def table(self):
        print(f"Potstill ({self.device}) against {', '.join(self.rivals.versions)}: {self.o.threads} threads, medians of {self.o.rounds} rounds in turns")
        print(f"Processor: {processor()}\nPyTorch runs with {self.rivals.allocator_name}\n")
        lines = [["", "", "Potstill", "best rival", "ratio", "min..max", "to"]]
        for name, unit, ours, medians, ratios, best in self.rows:
            lines.append([name, unit, f"{ours:.2f}", f"{medians[best]:.2f}", f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}..{max(ratios):.2f}", best])
        wide = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
        for row in lines:
            print("  ".join(c.ljust(w) if i in (0, 1, len(row) - 1) else c.rjust(w) for i, (c, w) in enumerate(zip(row, wide))).rstrip())
        print("\nAll modes (medians):")
        for name, unit, ours, medians, *_ in self.rows:
            print(f"{name} ({unit}): Potstill {ours:.2f}, " + ", ".join(f"{m} {t:.2f}" for m, t in sorted(medians.items(), key=lambda i: i[1])))
        for n in self.notes + ["no ratio for " + f for f in self.failed]:
            print("\n" + n)


def compare(o):
    known = [*cases(), MEMORY, *([GORGONIA] if o.gorgonia else [])]
    names = o.only.split(",") if o.only else [n for n in known if n.removesuffix("_bf16") not in LONG]
    if unknown := [n for n in names if n not in known]:
        sys.exit(f"no such case: {', '.join(unknown)}; there are {', '.join(known)}")
    if o.quick:
        o.rounds, o.time = min(o.rounds, 2), min(o.time, 0.2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = o.folder or tempfile.mkdtemp(prefix="potstill-bench-")
    try:
        c = Comparison(o, folder)
        try:
            c.run(names)
        finally:
            c.rivals.close()
    finally:
        if not o.folder:
            shutil.rmtree(folder)
    if o.json:
        print(json.dumps(c.results, indent=2))
    else:
        c.table()
    for f in c.failed:
        say("no ratio for " + f)
    sys.exit(1 if c.failed else 0)


def main():
    p = argparse.ArgumentParser(description="Potstill against PyTorch, ONNX Runtime and OpenVINO on the CPU")
    p.add_argument("--potstill", required=True, help="the command")
    p.add_argument("--gorgonia", help="the command made of scripts/bench_gorgonia")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--time", type=float, default=1.0, help="seconds of a measurement, at least")
    p.add_argument("--only", help="names of cases, with commas between")
    p.add_argument("--folder", help="where weights and models are kept, and taken from if they are there; they are made for the run otherwise")
    p.add_argument("--quick", action="store_true", help="two short rounds: a test of the script, no measurement")
    p.add_argument("--json", action="store_true", help="one object of ratios by name, instead of the table")
    compare(p.parse_args())


if __name__ == "__main__":
    main()
