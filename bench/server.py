"""A PostgreSQL of the benchmark's own: started on a socket below a temporary directory, gone with it."""

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

# What a drill's throwaway server has: nothing is durable (crates/postgres/src/throwaway.rs).
THROWAWAY = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_level": "minimal",
    "max_wal_senders": "0", "shared_buffers": "128MB", "maintenance_work_mem": "64MB", "work_mem": "16MB",
    "max_wal_size": "256MB",
}
# A small production server, but for fsync: the disk of a shared machine is the noisiest thing on it.
SOURCE = {
    "fsync": "off", "wal_level": "replica", "archive_mode": "on", "archive_command": "/bin/true",
    "shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "256MB", "autovacuum": "off",
    # 20,000 tables are locked at once.
    "max_locks_per_transaction": "512",
}


def programs():
    """The directory with initdb and pg_ctl."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not places:
        raise SystemExit("no initdb here: run `make tools`")
    return places[0].parent


BIN = programs()


def as_server(command):
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", *command]


class Server:
    """A running server. `place` holds its data and its socket."""

    def __init__(self, place: Path, settings: dict):
        self.place = place
        self.data = place / "data"
        place.mkdir(mode=0o755)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(place, user.pw_uid, user.pw_gid)
        quiet = {"stdout": subprocess.DEVNULL, "check": True, "cwd": place}
        subprocess.run(as_server([BIN / "initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8",
                                  "--locale=C.UTF-8", "-A", "trust", "--no-sync"]), **quiet)
        options = {"listen_addresses": "", "unix_socket_directories": place, **settings}
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        subprocess.run(as_server([BIN / "pg_ctl", "-D", self.data, "-w", "-l", place / "log", "-o", words, "start"]),
                       **quiet)
        self.pid = int((self.data / "postmaster.pid").read_text().split()[0])
        self.environment = {"PGHOST": str(place), "PGUSER": "postgres", "PGPORT": "5432"}

    def sql(self, sql, database="postgres"):
        """Runs SQL; the last answer, unaligned."""
        done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"], input=sql, text=True,
                              env={**os.environ, **self.environment}, capture_output=True)
        if done.returncode:
            raise SystemExit(f"the data could not be made: {done.stderr}")
        return done.stdout.strip()

    def cpu_seconds(self):
        """Of the server with all its processes, living and ended (proc(5), /proc/[pid]/stat)."""
        total = 0
        for pid in [self.pid, *children(self.pid)]:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
            if pid == self.pid:
                total += int(fields[13]) + int(fields[14])
        return total / TICKS

    def quiesce(self):
        """Nothing of the last measurement is left to do."""
        while self.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") != "1":
            time.sleep(0.05)
        self.sql("CHECKPOINT")

    def stop(self):
        subprocess.run(as_server([BIN / "pg_ctl", "-D", self.data, "-m", "immediate", "stop"]),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


def children(pid):
    """The direct children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
