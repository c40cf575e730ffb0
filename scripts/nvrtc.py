"""Compiles sources with the real NVRTC: python scripts/nvrtc.py LIBNVRTC FOLDER ARCH...

Each FOLDER/SOURCE-HASH.cu has its macros in the first line, behind "// ".
scripts/nvrtc.sh makes the folder.
"""

import ctypes
import os
import re
import sys
from collections import defaultdict


class NVRTC:
    def __init__(self, path):
        # its own libnvrtc-builtins lies beside it
        self.lib = ctypes.CDLL(path)

    def version(self):
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def archs(self):
        n = ctypes.c_int()
        self.lib.nvrtcGetNumSupportedArchs(ctypes.byref(n))
        a = (ctypes.c_int * n.value)()
        self.lib.nvrtcGetSupportedArchs(a)
        return [f"sm_{x}" for x in a]

    def compile(self, name, text, options):
        """Returns (ok, log)."""
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        self.lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
        array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        rc = self.lib.nvrtcCompileProgram(program, len(options), array)
        self.lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self.lib.nvrtcGetProgramLog(program, log)
        self.lib.nvrtcDestroyProgram(ctypes.byref(program))
        return rc == 0, log.value.decode()


def main():
    nvrtc, folder = NVRTC(sys.argv[1]), sys.argv[2]
    archs = " ".join(sys.argv[3:]).split()
    have = nvrtc.archs()
    for a in archs:
        if a not in have:
            print(f"left out: this NVRTC {nvrtc.version()} does not know {a} (it knows {', '.join(have)})")
    archs = [a for a in archs if a in have]
    files = sorted(os.listdir(folder))
    if not files:
        sys.exit("nvrtc.py: no sources; the tests over cuda/fake did not run")
    rows, failed = defaultdict(lambda: [0, 0, 0]), 0
    for file in files:
        text = open(os.path.join(folder, file)).read()
        macros = text.split("\n", 1)[0][3:].split()
        source = file.rsplit("-", 1)[0]
        for arch in archs:
            ok, log = nvrtc.compile(source, text, [f"--gpu-architecture={arch}", "--std=c++17", "--ptxas-options=-v", *macros])
            if not ok:
                failed += 1
                print(f"{source} {' '.join(macros)} for {arch}:\n{log}")
                continue
            row = rows[source]
            row[0] += 1
            row[1] = max([row[1], *map(int, re.findall(r"Used (\d+) registers", log))])
            row[2] = max([row[2], *map(int, re.findall(r"(\d+) bytes spill stores", log))])
    print(f"NVRTC {nvrtc.version()}, {', '.join(archs)}")
    print(f"{'source':24}{'compiled':>9}{'registers':>11}{'spilled bytes':>15}")
    for source, (n, registers, spills) in sorted(rows.items()):
        print(f"{source:24}{n:9}{registers:11}{spills:15}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
