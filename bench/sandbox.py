#!/usr/bin/env python3
"""What the sandbox costs: drills with it and, in turn in the same run, without what the host offers for it.

    bench/sandbox.py [--rounds N] [NAME:SCALE ...]

A filter of system calls (seccomp(2), x86-64 only) refuses Landlock and new namespaces to every other drill, as an old
kernel would. NAME is one of data.py's. Needs `make build`.
"""

import argparse
import ctypes
import json
import os
import platform
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import data
from peers import EVERYTHING, HUBVAULT, Bench
from server import SOURCE, Server

# Numbers and flags of the kernel: linux/bpf_common.h, linux/seccomp.h, linux/sched.h, asm/unistd_64.h.
LOAD, IF_EQUAL, IF_ANY, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
EPERM, ENOSYS = 1, 38
CLONE, UNSHARE, LANDLOCK = 56, 272, 444
NAMESPACES = 0x7C020000
NUMBER, FIRST_ARGUMENT = 0, 16
NO_NEW_PRIVS, SECCOMP = 38, 22
LIBC = ctypes.CDLL(None, use_errno=True)


class Filter(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def refuse():
    """Runs in the child, before the program: from here on there is no Landlock and no new namespace."""
    steps = [(LOAD, 0, 0, NUMBER), (IF_EQUAL, 0, 1, LANDLOCK), (RETURN, 0, 0, REFUSE | ENOSYS),
             (IF_EQUAL, 0, 1, UNSHARE), (RETURN, 0, 0, REFUSE | EPERM),
             (IF_EQUAL, 0, 3, CLONE), (LOAD, 0, 0, FIRST_ARGUMENT), (IF_ANY, 0, 1, NAMESPACES),
             (RETURN, 0, 0, REFUSE | EPERM), (RETURN, 0, 0, ALLOW)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = Filter(len(steps), ctypes.addressof(text))
    if LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or LIBC.prctl(SECCOMP, 2, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter was refused")


def drill(bench, environment, name, confined):
    """One drill: seconds, and CPU seconds of all its processes. It must have had the walls or have missed them."""
    before, began = os.times(), time.monotonic()
    done = subprocess.run([HUBVAULT, "drill", bench.archives[name], "--no-progress", "--json"], env=environment, text=True,
                          cwd=bench.place, capture_output=True, preexec_fn=None if confined else refuse)
    seconds, after = time.monotonic() - began, os.times()
    answer = json.loads(done.stdout)
    missing = [found["proof"]["drill"]["confinement"]["missing"] for found in answer]
    if done.returncode not in (0, 3) or [not it for it in missing] != [confined]:
        raise SystemExit(f"not the drill that was to be measured: {answer}")
    return seconds, sum(after[2:4]) - sum(before[2:4])


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("what", nargs="*", default=["two-tables:0.02", "two-tables:0.3", "many:0.1"])
    options = words.parse_args()
    if platform.machine() != "x86_64":
        raise SystemExit("the filter is written for x86-64")
    place = Path(tempfile.mkdtemp(prefix="hubvault-bench-", dir="/tmp"))
    place.chmod(0o755)
    source = Server(place / "source", SOURCE)
    try:
        for number, (name, scale) in enumerate(word.split(":") for word in options.what):
            if number:
                source.sql(f"DROP DATABASE IF EXISTS {name.replace('-', '_')}")
            database, text = data.make(source, name, float(scale))
            bench = Bench(place, source, source, database, EVERYTHING)
            bench.hubvault("kept", "zstd", 1)
            environment = {**os.environ, **source.environment, **bench.settings(bench.place / "kept")}
            taken = {True: [], False: []}
            for round in range(options.rounds + 1):
                for confined in (True, False):
                    found = drill(bench, environment, "kept", confined)
                    # The first of each keep an empty cluster for the others.
                    if round:
                        taken[confined].append(found)
            wall, cpu = ([statistics.median(it[k] for it in taken[c]) for c in (True, False)] for k in (0, 1))
            print(f"{text}: with the sandbox {wall[0]:.2f} s, without {wall[1]:.2f} s, ratio {wall[0] / wall[1]:.2f}; "
                  f"CPU {cpu[0]:.2f} and {cpu[1]:.2f} s, ratio {cpu[0] / cpu[1]:.2f}", flush=True)
            shutil.rmtree(bench.place)
    finally:
        source.stop()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
