#!/usr/bin/env python3
"""Copies in a store: hubvault beside rclone and aws, against an S3 server on loopback, in turn in the same run.

    bench/stores.py [--mb MB] [--rounds N] [--backups N] [--out FILE]

Needs `make build`, `tools/fetch-stores.sh seaweedfs`, rclone (Debian) and aws (`pip install awscli`); a peer that is not
there is left out. Needs about four times --mb of disk below the temporary directory, and removes all of it.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import archives
import data
import measure
from peers import EVERYTHING, HUBVAULT, ROOT, Bench
from server import SOURCE, THROWAWAY, Server

WEED = ROOT / "target/stores/seaweedfs/weed"
KEY, SECRET = "BENCH", "only-for-the-bench"
FLAGS = ["-filer", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
         "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=100", "-volume.minFreeSpace=100MiB"]


class Store:
    """An S3 server of the bench's own."""

    def __init__(self, place: Path):
        place.mkdir()
        identity = {"name": "bench", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                    "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}
        (place / "keys.json").write_text(json.dumps({"identities": [identity]}))
        ports = free_ports(8)
        flags = list(FLAGS) + [f"-dir={place}", f"-s3.config={place}/keys.json"]
        for part, (http, grpc) in zip(["master", "volume", "filer", "s3"], zip(ports[::2], ports[1::2])):
            flags += [f"-{part}.port={http}", f"-{part}.port.grpc={grpc}"]
        flags += [f"-filer.localSocket={place}/filer.sock", f"-s3.localSocket={place}/s3.sock"]
        self.log = open(place / "log", "w")
        self.sockets = [Path(f"/tmp/seaweedfs-{part}-grpc-{http}.sock")
                        for part, http in zip(["master", "volume", "filer", "s3"], ports[::2])]
        self.child = subprocess.Popen([WEED, "-logtostderr=true", "server", *flags], cwd=place, stdout=self.log, stderr=self.log,
                                      env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"})
        self.endpoint, self.filer = f"http://127.0.0.1:{ports[6]}", f"http://127.0.0.1:{ports[4]}"
        self.environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
                            "AWS_ENDPOINT_URL": self.endpoint, "AWS_CONFIG_FILE": "/dev/null",
                            "RCLONE_CONFIG": "/dev/null", "RCLONE_S3_PROVIDER": "SeaweedFS", "RCLONE_S3_ACCESS_KEY_ID": KEY, "RCLONE_S3_SECRET_ACCESS_KEY": SECRET,
                            "RCLONE_S3_ENDPOINT": self.endpoint, "RCLONE_S3_NO_CHECK_BUCKET": "true"}
        # rclone takes none of its own beside it, and there is no TLS here.
        os.environ.pop("AWS_CA_BUNDLE", None)
        end = time.monotonic() + 60
        while not self.makes("warm-up"):
            if time.monotonic() > end or self.child.poll() is not None:
                raise SystemExit(f"the S3 server does not start: {(place / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        self.empty("warm-up")

    def makes(self, bucket):
        """A bucket is a directory of its filer."""
        done = [subprocess.run(["curl", "-sf", "-X", how, f"{self.filer}/buckets/{bucket}/{name}", *extra], capture_output=True)
                for how, name, extra in (("PUT", "x", ["-d", "x"]), ("DELETE", "x", []))]
        up = subprocess.run(["curl", "-s", "-o", "/dev/null", self.endpoint])
        return not any(step.returncode for step in [*done, up])

    def empty(self, bucket):
        """Gives a bucket's room back."""
        subprocess.run(["curl", "-sf", "-X", "DELETE", f"{self.filer}/buckets/{bucket}?recursive=true"], capture_output=True)

    def stop(self):
        self.child.kill()
        self.child.wait()
        for path in self.sockets:
            path.unlink(missing_ok=True)


def free_ports(count):
    """Ports that nobody has; their HTTP and gRPC in turn."""
    taken = []
    for _ in range(count):
        one = socket.socket()
        one.bind(("127.0.0.1", 0))
        taken.append(one)
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def alternating(rounds, contenders):
    """Each contender once a round; the medians of seconds, the largest peak memory, the last bytes read."""
    taken = {name: [] for name in contenders}
    for number in range(rounds):
        for name, once in contenders.items():
            taken[name].append(once(number))
            print(f"  {name}: {taken[name][-1].seconds:.2f} s", file=sys.stderr)
    return {name: (statistics.median(one.seconds for one in all), max(one.peak_mb for one in all), all[-1].read_mb,
                   statistics.median(one.client_cpu for one in all)) for name, all in taken.items()}


def uploads(bench, store, archive, rounds):
    """One archive into an empty bucket."""
    directory = bench.place / "copy"

    def into(bucket, command, environment):
        if not store.makes(bucket):
            raise SystemExit("the S3 server makes no bucket")
        taken = measure.run(command, bench.source, {**store.environment, **environment})
        store.empty(bucket)
        return taken

    def ours(number):
        url = f"far{number}=s3://ours-{number}/hub"
        settings = {**bench.settings(directory), "BACKUP_DESTINATIONS": url}
        return into(f"ours-{number}", [HUBVAULT, "copies", "sync", "--no-progress"], settings)

    contenders = {"hubvault copies sync": ours}
    if shutil.which("rclone"):
        contenders["rclone copy"] = lambda number: into(
            f"rclone-{number}", ["rclone", "copy", archive, f":s3:rclone-{number}/hub"], {})
    if shutil.which("aws"):
        contenders["aws s3 cp"] = lambda number: into(
            f"aws-{number}", ["aws", "s3", "cp", "--quiet", archive, f"s3://aws-{number}/hub/a.tar.gz"], {})
    # The first one finds a store that has no room laid out yet.
    contenders["hubvault copies sync"](rounds)
    return alternating(rounds, contenders)


def restores(bench, store, archive, rounds, whole=True):
    """The archive whole unless told not to, and one small table of it, from the bucket and from the disk."""
    store.makes("kept")
    directory = bench.place / "copy"
    settings = {**bench.settings(directory), **store.environment}
    measure.run([HUBVAULT, "copies", "sync", "--no-progress"], bench.source,
                {**settings, "BACKUP_DESTINATIONS": "kept=s3://kept/hub"})

    def restore(source, *options):
        bench.empty()
        if options:
            bench.target.sql("CREATE TABLE small (id int PRIMARY KEY, name text)", "restored")
        return measure.run([HUBVAULT, "restore", source, "--no-progress", *options], bench.target,
                           {**settings, "POSTGRES_DB": "restored"}, cwd=bench.place)

    bucket = f"s3://kept/hub/{Path(archive).name}"
    all_of_it = {
        "whole, from the bucket": lambda _: restore(bucket),
        "whole, from the disk": lambda _: restore(archive),
    }
    return alternating(rounds, (all_of_it if whole else {}) | {
        "one table, from the bucket": lambda _: restore(bucket, "--table", "public.small"),
        "one table, from the disk": lambda _: restore(archive, "--table", "public.small"),
    })


def table(title, results, base=None):
    """A part of the report; `base` is what the ratios are of."""
    lines = [f"## {title}", "", "| | seconds | of it | peak MB | MB of files read | CPU s |", "|---|---|---|---|---|---|"]
    for name, (seconds, peak, read, cpu) in results.items():
        ratio = f"{seconds / results[base][0]:.2f}" if base else ""
        lines.append(f"| {name} | {seconds:.2f} | {ratio} | {peak:.0f} | {read:.1f} | {cpu:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--mb", type=int, default=2000, help="about the size of the archive")
    words.add_argument("--rounds", type=int, default=3, help="how often each contender runs")
    words.add_argument("--backups", type=int, default=10000, help="how many archives a directory has; 0 leaves it out")
    words.add_argument("--only", choices=["upload", "restore", "table", "many"],
                       help="one part only; table: one small table out of the archive, without restoring all of it")
    words.add_argument("--out", type=lambda text: Path(text).absolute(), default=Path(__file__).parent / "STORES.md")
    options = words.parse_args()
    for program, how in ((HUBVAULT, "make build"), (WEED, "tools/fetch-stores.sh seaweedfs")):
        if not program.exists():
            raise SystemExit(f"no {program} here: run `{how}`")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("stopped"))
    place = Path(tempfile.mkdtemp(prefix="hubvault-bench-", dir="/tmp"))
    place.chmod(0o755)
    started, parts = [], []
    try:
        # One large archive needs disk for itself: no log of gigabytes beside it, and no data once it is there.
        source, target = Server(place / "source", SOURCE | ({"max_wal_size": "1GB"} if options.only == "table" else {})), None
        started.append(source)
        if options.only == "many":
            source.sql("CREATE DATABASE large")
            database, what = "large", ""
        else:
            database, what = data.make(source, "large", options.mb / 10_000)
        target = Server(place / "target", THROWAWAY)
        started.append(target)
        bench = Bench(place, source, target, database, EVERYTHING)
        if options.only != "many":
            store = Store(place / "store")
            started.append(store)
            size = bench.hubvault("copy", "gzip", 1).size_mb
            archive = bench.archives["copy"]
            parts.append(f"One archive of {size:,.0f} MB ({what}); {options.rounds} rounds, medians.\n")
            if options.only in (None, "upload"):
                results = uploads(bench, store, archive, options.rounds)
                peers = [name for name in results if not name.startswith("hubvault")]
                best = min(peers, key=lambda name: results[name][0]) if peers else None
                parts.append(table("Upload to the S3 server", results, best))
            if options.only in (None, "restore"):
                parts.append(table("Restore", restores(bench, store, archive, options.rounds), "whole, from the disk"))
            if options.only == "table":
                source.sql(f"DROP DATABASE {database}")
                parts.append(table("One table", restores(bench, store, archive, options.rounds, whole=False)))
        if options.backups and options.only in (None, "many"):
            parts.append(table(f"{options.backups:,} backups in a directory", archives.many(bench, place, options.backups)))
    finally:
        for one in reversed(started):
            one.stop()
        shutil.rmtree(place, ignore_errors=True)
    options.out.write_text("# Copies in a store\n\nWritten by `bench/stores.py`.\n\n" + "\n".join(parts))
    print(options.out.read_text())


if __name__ == "__main__":
    main()
