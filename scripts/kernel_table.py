"""The resources of every kernel, by the real NVRTC: python scripts/kernel_table.py LIBNVRTC NVDISASM FOLDER

For each FOLDER/SOURCE-HASH.cu (see scripts/kernel_table.sh) and for sm_80, sm_90
and sm_100: registers, stack, shared memory and spills as ptxas tells them, and of
the machine code of sm_90, disassembled, the widest load from device memory and
how many loads and stores of local memory stand within loops. Prints a table in
Markdown, each line the most over a kernel's variants. Fails at a kernel that
touches device memory before it has waited for what is earlier in the stream
(WAIT_FOR_EARLIER in cuda/kernels/common.cuh, ACQBULK in sm_90's machine code).
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import nvrtc as compiler

ARCHS = ["sm_80", "sm_90", "sm_100"]


class NVRTC(compiler.NVRTC):
    def cubin(self, name, text, options):
        """Returns (cubin, log); the cubin is None where the source does not compile."""
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        self.lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
        array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        rc = self.lib.nvrtcCompileProgram(program, len(options), array)
        self.lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self.lib.nvrtcGetProgramLog(program, log)
        cubin = None
        if rc == 0:
            self.lib.nvrtcGetCUBINSize(program, ctypes.byref(size))
            data = ctypes.create_string_buffer(size.value)
            self.lib.nvrtcGetCUBIN(program, data)
            cubin = data.raw
        self.lib.nvrtcDestroyProgram(ctypes.byref(program))
        return cubin, log.value.decode()


def resources(log):
    """{kernel: (registers, stack, shared, spill stores + loads)} of ptxas's words."""
    found, kernel, frame = {}, None, (0, 0)
    for line in log.splitlines():
        if m := re.search(r"Compiling entry function '(\w+)'", line):
            kernel, frame = m[1], (0, 0)
        elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            frame = (int(m[1]), int(m[2]) + int(m[3]))
        elif (m := re.search(r"Used (\d+) registers", line)) and kernel:
            shared = re.search(r"(\d+) bytes smem", line)
            found[kernel] = (int(m[1]), frame[0], int(shared[1]) if shared else 0, frame[1])
    return found


def machine_code(nvdisasm, cubin):
    """{kernel: (widest load in bits, accesses to local memory within loops)}"""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as f:
        f.write(cubin)
        f.flush()
        text = subprocess.run([nvdisasm, "-c", f.name], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = {}
    for part in re.split(r"(?m)^\s*\.section\s+\.text\.", text)[1:]:
        name = re.match(r"\w+", part)[0]
        lines, labels, local, widest, loops, waits = part.splitlines(), {}, [], 0, [], False
        for i, line in enumerate(lines):
            if m := re.match(r"(\.L_\w+):", line.strip()):
                labels[m[1]] = i
            waits = waits or " ACQBULK" in line
            if not waits and re.search(r"\b(LDG|STG|LD\.E|ST\.E|ATOM|ATOMG|RED|REDG|LDGSTS)\b", line):
                sys.exit(f"{name} does not wait before {line.strip()}")
            if re.search(r"\b(LDL|STL)\b", line):
                local.append(i)
            if m := re.search(r"\bLDG\.E(?:\.\w+)*", line):
                width = re.search(r"\.(128|64|U16|U8|S16|S8)\b", m[0])
                widest = max(widest, int(width[1].lstrip("US")) if width else 32)
            if (m := re.search(r"\bBRA\b.*?\(?(\.L_\w+)", line)) and m[1] in labels:
                if labels[m[1]] < i - 1:  # not the endless loop behind the end
                    loops.append((labels[m[1]], i))
        found[name] = (widest, sum(any(a <= i <= b for a, b in loops) for i in local))
    return found


def main():
    lib, nvdisasm, folder = sys.argv[1:4]
    nvrtc = NVRTC(lib)
    have = nvrtc.archs()
    archs = [a for a in ARCHS if a in have]
    jobs = [(f, a) for f in sorted(os.listdir(folder)) for a in archs]

    def one(job):
        file, arch = job
        text = open(os.path.join(folder, file)).read()
        macros = text.split("\n", 1)[0][3:].split()
        cubin, log = nvrtc.cubin(file.rsplit("-", 1)[0], text, [f"--gpu-architecture={arch}", "--std=c++17", "--ptxas-options=-v", *macros])
        if cubin is None:
            sys.exit(f"{file} {' '.join(macros)} for {arch}:\n{log}")
        code = machine_code(nvdisasm, cubin) if arch == "sm_90" else {}
        return file.rsplit("-", 1)[0], arch, resources(log), code

    most, variants = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0])), defaultdict(int)
    wide, local = defaultdict(int), defaultdict(int)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, arch, found, code in pool.map(one, jobs):
            for kernel, r in found.items():
                row = most[source, kernel][arch]
                row[:] = [max(a, b) for a, b in zip(row, r)]
                variants[source, kernel] += arch == "sm_90"
            for kernel, (w, n) in code.items():
                wide[source, kernel] = max(wide[source, kernel], w)
                local[source, kernel] = max(local[source, kernel], n)
    print(f"NVRTC {nvrtc.version()}, {len(jobs)} compilations. Registers a thread, bytes of stack a thread, of shared memory a block (without")
    print("what a launch adds), and of spills a thread, on " + ", ".join(archs) + ".\n")
    print("| kernel | variants | registers | stack | shared | spills | widest load | local in loops |")
    print("|---|---|---|---|---|---|---|---|")
    for (source, kernel), by in sorted(most.items()):
        cell = lambda i: " ".join(str(by[a][i]) for a in archs) if len({by[a][i] for a in archs}) > 1 else str(by[archs[0]][i])
        print(f"| {source}: {kernel} | {variants[source, kernel]} | {cell(0)} | {cell(1)} | {cell(2)} | {cell(3)} | "
              f"{wide[source, kernel]} | {local[source, kernel]} |")


if __name__ == "__main__":
    main()
