"""One command measured: wall seconds, CPU seconds of client and server, peak memory of the client."""

import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Taken:
    """What one command took. `peak_mb` is the largest resident set of the process itself, not of its children."""
    seconds: float
    client_cpu: float
    server_cpu: float
    peak_mb: float
    output: str
    size_mb: float = 0.0
    read_mb: float = 0.0
    note: dict = field(default_factory=dict)


class Peak(threading.Thread):
    """Looks at a process's high-water mark and at what it read, until it ends (proc(5), VmHWM, rchar)."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.kilobytes, self.over = Path(f"/proc/{pid}/status"), 0, threading.Event()
        self.io, self.read = Path(f"/proc/{pid}/io"), 0

    def run(self):
        while not self.over.wait(0.01):
            try:
                text = self.path.read_text()
                self.read = int(self.io.read_text().split()[1])
            except OSError:
                return
            for line in text.splitlines():
                if line.startswith("VmHWM:"):
                    self.kilobytes = max(self.kilobytes, int(line.split()[1]))


def run(command, server, environment=None, accepted=(0,), cwd=None, path=None):
    """Runs a command to its end; an exit code that is not accepted ends the benchmark."""
    env = {**os.environ, **server.environment, **(environment or {})}
    errors = Path(cwd or "/tmp") / f"bench-errors-{os.getpid()}"
    before, began = server.cpu_seconds(), time.monotonic()
    with open(errors, "w+") as said:
        child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=said, cwd=cwd)
        peak = Peak(child.pid)
        peak.start()
        output = child.stdout.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        peak.over.set()
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    errors.unlink()
    if child.returncode not in accepted:
        raise SystemExit(f"{command} ended with {child.returncode}:\n{text}\n{output}")
    # Backends are counted once they have been reaped, which takes a moment.
    time.sleep(0.2)
    return Taken(seconds, usage.ru_utime + usage.ru_stime, server.cpu_seconds() - before, peak.kilobytes / 1024,
                 output, size(path) if path else 0.0, peak.read / 1e6)


def size(path: Path):
    """A file or a directory, in MB of 10^6 bytes."""
    if path.is_file():
        return path.stat().st_size / 1e6
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
