"""What is measured: hubvault and its peers, each a function that takes one backup or one restore."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import measure
from server import BIN, as_server

ROOT = Path(__file__).parent.parent
HUBVAULT = Path(os.environ.get("HV", ROOT / "target/release/hubvault"))
EVERYTHING = '[scope]\ntables = ["*"]\nwindow = []\n'
# What the shell scripts took (crates/config/src/default_scope.rs).
CRITICAL = {"users", "user_roles", "organizations", "agencies", "referrals", "exchange_rates", "system_settings", "roles",
            "permissions", "role_permissions"}
WINDOWS = {"credit_transactions", "point_transactions", "purchases"}


class Bench:
    """A place to write to, the source server, one database, and the server that restores go to."""

    def __init__(self, place, source, target, database, scope=EVERYTHING):
        self.place, self.source, self.target, self.database = place / database, source, target, database
        self.scope = scope or self.of_the_scripts()
        self.archives = {}
        # A configuration in a directory that others may write is refused.
        self.place.mkdir(mode=0o755)
        self.place.chmod(0o755)

    def there(self):
        """The names of the database's tables."""
        return set(self.source.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", self.database).split())

    def of_the_scripts(self):
        """The scope of the shell scripts."""
        tables, windows = (json.dumps(sorted(self.there() & names)) for names in (CRITICAL, WINDOWS))
        return f'[scope]\ntables = {tables}\n[[scope.window]]\ntables = {windows}\ncolumn = "created_at"\nlength = "3 months"\n'

    def fresh(self, name):
        """An empty directory below the place."""
        path = self.place / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        return path

    def shell(self, name, script):
        """A shell script that writes into its own directory."""
        directory = self.fresh(name)
        taken = measure.run(["bash", "-o", "pipefail", "-c", script], self.source,
                            {"PGDATABASE": self.database}, cwd=directory, path=directory)
        return taken

    def dump(self, name, *options):
        """pg_dump with its own output file or directory."""
        directory = self.fresh(name)
        return measure.run([BIN / "pg_dump", *options, "-f", directory / "dump", self.database], self.source,
                           cwd=directory, path=directory)

    def hubvault(self, name, codec="", level=0, workers=2, extra="", environment=None):
        """A backup with its read-back and without a drill; its times by stage in the note. Without
        a codec, everything that is not the scope is as it is by default."""
        directory = self.fresh(name)
        archive = f'[archive]\ncodec = "{codec}"\nlevel = {level}\nworkers = {workers}\n{extra}' if codec else ""
        environment = {**self.settings(directory, archive), **(environment or {})}
        taken = measure.run([HUBVAULT, "backup", "--json", "--no-progress"], self.source, environment,
                            accepted=(0, 3), cwd=directory)
        record = json.loads(taken.output)
        taken.size_mb = record["bytes"] / 1e6
        taken.note = {stage["stage"]: stage["seconds"] for stage in record["stages"]}
        self.archives[name] = record["file"]
        return taken

    def settings(self, directory, archive=""):
        """A configuration of its own, and the environment that names it."""
        (directory / "hubvault.toml").write_text(f"file = []\n{archive}{self.scope}")
        (directory / "backups").mkdir(exist_ok=True)
        return {"EMAIL_ENABLED": "false", "BACKUP_DIR": str(directory / "backups"), "HUBVAULT_CONFIG": str(directory / "hubvault.toml"),
                "POSTGRES_DB": self.database, "PROOF": "off",
                # The first drill makes an empty cluster for all that follow, which are most.
                "PROOF_EMPTY_CLUSTERS": str(self.place / "empty-clusters")}

    def statements(self):
        """What one backup asks of the server, in statements of all its connections, pg_dump's among them."""
        mark = (self.source.place / "log").stat().st_size
        self.source.sql(f"ALTER DATABASE {self.database} SET log_statement = 'all'")
        self.hubvault("statements")
        self.source.sql(f"ALTER DATABASE {self.database} RESET log_statement")
        with open(self.source.place / "log", "rb") as log:
            log.seek(mark)
            text = log.read().decode(errors="replace")
        return sum("LOG:  statement:" in line or "LOG:  execute " in line for line in text.splitlines())

    def tables(self):
        """How many tables the database has."""
        return int(self.source.sql("SELECT count(*) FROM pg_stat_user_tables", self.database))

    def empty(self):
        """An empty database on the target."""
        self.target.sql("DROP DATABASE IF EXISTS restored")
        self.target.sql("CREATE DATABASE restored TEMPLATE template0")
        self.target.sql("CHECKPOINT")

    def pg_restore(self):
        """`pg_restore -j2` of what `pg_dump -Fd -j2` wrote."""
        self.empty()
        return measure.run([BIN / "pg_restore", "-j2", "-d", "restored", self.place / "Fd/dump"], self.target)

    def pg_restore_and_analyze(self):
        """The same with the statistics that hubvault gathers, too."""
        self.empty()
        script = f"{BIN}/pg_restore -j2 -d restored {self.place}/Fd/dump && {BIN}/vacuumdb --analyze-only -q -j2 restored"
        return measure.run(["bash", "-c", script], self.target)

    def psql(self):
        """`psql < dump`."""
        self.empty()
        dump = self.place / "plain.sql"
        if not dump.exists():
            measure.run([BIN / "pg_dump", "-f", dump, self.database], self.source)
        return measure.run(["bash", "-c", f"psql -qX -v ON_ERROR_STOP=1 -d restored < {dump} > /dev/null"], self.target)

    def everything_on(self):
        """A backup that seals, keeps a second copy, compresses more and has four workers."""
        key, copies = self.place / "key", self.fresh("copies")
        if not key.exists():
            subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
        recipient = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
        on = {"BACKUP_RECIPIENTS": recipient, "BACKUP_DESTINATIONS": f"second=file://{copies}"}
        return self.hubvault("everything", "zstd", 3, workers=4, environment=on)

    def restic(self):
        """restic over `pg_dump`, into a repository of its own: its deduplication wants rows that it can compress itself."""
        repository = self.fresh("restic")
        environment = {"PGDATABASE": self.database, "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repository)}
        measure.run(["restic", "init", "--quiet"], self.source, environment)
        script = "pg_dump | restic backup --quiet --no-cache --stdin --stdin-filename dump.sql"
        return measure.run(["bash", "-o", "pipefail", "-c", script], self.source, environment, cwd=repository, path=repository)

    def restore(self, name, *options):
        """`hubvault restore`, without options with its comparison of every row at the end."""
        self.empty()
        environment = {**self.settings(self.place / name), "POSTGRES_DB": "restored"}
        return measure.run([HUBVAULT, "restore", self.archives[name], "--no-progress", *options], self.target, environment,
                           cwd=self.place)

    def drill(self, name):
        """The whole proof: a throwaway server, everything loaded, indexes, every row compared. Its
        server's CPU is its own child's, so it counts as the client's."""
        return measure.run([HUBVAULT, "drill", self.archives[name], "--no-progress"], self.source,
                           self.settings(self.place / name), cwd=self.place)

    def one_of_many(self):
        """One small table out of a large archive: seconds, and bytes read of the file (proc(5), rchar)."""
        self.hubvault("large", "zstd", 1)
        archive = Path(self.archives["large"])
        self.target.sql("DROP DATABASE IF EXISTS restored")
        self.target.sql("CREATE DATABASE restored TEMPLATE template0")
        self.target.sql("CREATE TABLE small (id int PRIMARY KEY, name text)", "restored")
        environment = {**self.settings(self.place / "large"), "POSTGRES_DB": "restored"}
        command = [HUBVAULT, "restore", archive, "--table", "small", "--no-progress"]
        taken = measure.run(command, self.target, environment, cwd=self.place)
        taken.size_mb = archive.stat().st_size / 1e6
        return taken

    def impact(self):
        """pgbench's transactions a second alone, beside hubvault and beside pg_dump -j2, in turn."""
        self.source.sql("CREATE DATABASE living")
        env = {**os.environ, **self.source.environment}
        quiet = {"env": env, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([BIN / "pgbench", "-i", "-s", "5", "-q", "living"], **quiet)
        beside = {"alone": None, "hubvault zstd-1": lambda: self.hubvault("impact", "zstd", 1),
                  "hubvault zstd-1, 1 worker": lambda: self.hubvault("impact", "zstd", 1, workers=1),
                  "hubvault zstd-1, pause 300 ms": lambda: self.hubvault("impact", "zstd", 1, extra='pause = "300 ms"\n'),
                  "hubvault zstd-1, 40 MiB/s": lambda: self.hubvault("impact", "zstd", 1, extra="max_mb_per_second = 40\n"),
                  "pg_dump -Fd -j2": lambda: self.dump("impact", "-Fd", "-j2")}
        result = {name: [] for name in beside}
        for _ in range(3):
            for name, work in beside.items():
                result[name].append(self.throughput(env, work))
                print(f"  pgbench {name}: {result[name][-1][0]:.0f} tps", flush=True)
        self.source.sql("DROP DATABASE living")
        return result

    def throughput(self, env, work):
        """Transactions a second during `work` (or 8 s), and how long the work took."""
        began = time.monotonic()
        load = subprocess.Popen([BIN / "pgbench", "-c", "2", "-T", "600", "-P", "1", "living"], env=env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if work:
            work()
        else:
            time.sleep(8)
        seconds = time.monotonic() - began
        load.terminate()
        _, said = load.communicate()
        rates = [float(line.split(",")[1].split()[0]) for line in said.splitlines() if line.startswith("progress:")]
        return sum(rates) / max(1, len(rates)), seconds

    def floor(self):
        """What the server alone takes to give the rows: `COPY` to nowhere, two at once, each half of the pages."""
        tables = self.source.sql("SELECT relname || ' ' || greatest(relpages / 2, 1) FROM pg_class JOIN pg_namespace n "
                                 "ON n.oid = relnamespace WHERE nspname = 'public' AND relkind = 'r'", self.database)
        halves = ["", ""]
        for line in tables.splitlines():
            table, page = line.split()
            halves[0] += f"COPY (SELECT * FROM {table} WHERE ctid < '({page},0)') TO STDOUT;\n"
            halves[1] += f"COPY (SELECT * FROM {table} WHERE ctid >= '({page},0)') TO STDOUT;\n"
        both = " & ".join(f"psql -qX -c {json.dumps(half).replace(chr(92) + 'n', ' ')} > /dev/null" for half in halves)
        return self.shell("floor", f"{both} & wait")

    def pgbackrest(self):
        """A full physical backup of the whole cluster, zst-3, two processes: more than one database, and no proof."""
        directory = self.fresh("pgbackrest")
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        options = ["--stanza=bench", f"--pg1-path={self.source.data}", f"--pg1-socket-path={self.source.place}",
                   "--pg1-user=postgres", f"--repo1-path={directory}/repository", f"--lock-path={directory}/lock",
                   "--log-level-file=off", "--log-level-console=error"]
        measure.run(as_server(["pgbackrest", *options, "stanza-create"]), self.source, cwd=directory)
        command = ["pgbackrest", *options, "--compress-type=zst", "--compress-level=3", "--process-max=2", "--start-fast",
                   "--no-archive-check", "--type=full", "--repo1-retention-full=1", "backup"]
        return measure.run(as_server(command), self.source, cwd=directory, path=directory)

    def table_by_table(self):
        """As the shell scripts did it: each table of the default scope by a pg_dump of its own, each
        window as CSV, then tar."""
        there = self.there()
        script = "set -e\n"
        for table in sorted(there & WINDOWS):
            query = f"SELECT * FROM {table} WHERE created_at >= now() - interval '3 months'"
            script += f'psql -qX -c "COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)" > {table}.csv\n'
        for table in sorted(there & CRITICAL):
            script += f"{BIN}/pg_dump --data-only --table={table} > {table}.sql\n"
        pack = "tar -czf ../by-table.tar.gz . && rm -f *.sql *.csv && mv ../by-table.tar.gz ."
        return self.shell("table by table", script + pack)


def as_rows(name, taken):
    """For people: what one command took."""
    return f"  {name}: {taken.seconds:.2f} s, client {taken.client_cpu:.2f} s, server {taken.server_cpu:.2f} s, " \
           f"{taken.size_mb:.0f} MB, peak {taken.peak_mb:.0f} MB" + (f" {times(taken.note)}" if taken.note else "")


def times(note):
    """The stages of a backup that took longer than a tenth of a second."""
    return ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in note.items()
                     if isinstance(seconds, float) and seconds > 0.1)
