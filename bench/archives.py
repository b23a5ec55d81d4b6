"""A directory with very many archives, and what is asked of it."""

import json
import os
import subprocess
import sys
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import measure
from peers import HUBVAULT


def many(bench, place, count):
    """A directory with `count` archives that no catalog knows; then all but the last days are pruned. One sealed archive
    is there again and again, each time with a sidecar of its own, by which hubvault knows a sealed one."""
    bench.source.sql("CREATE DATABASE tiny")
    bench.source.sql("CREATE TABLE people AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 1000) n", "tiny")
    bench.database, small = "tiny", bench.fresh("one")
    key = bench.place / "key"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
    settings = {**bench.settings(small, "[archive]\nlevel = 1\n"), "BACKUP_RECIPIENTS": recipient, "BACKUP_RETENTION_DAYS": "30"}
    measure.run([HUBVAULT, "backup", "--json", "--no-progress"], bench.source, settings, accepted=(0, 3), cwd=small)
    archive = next((small / "backups").glob("*.age"))
    sidecar = json.loads(Path(f"{archive}.manifest.json").read_text())
    directory = place / "archives"
    directory.mkdir()
    first = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=count)
    for number in range(count):
        at = first + timedelta(hours=number)
        name = f"critical_backup_{at:%Y%m%d_%H%M%S}.tar.gz.age"
        manifest = sidecar["manifest"]
        manifest["id"] = str(uuid.uuid4())
        manifest["started_at"] = manifest["finished_at"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        os.link(archive, directory / name)
        (directory / f"{name}.manifest.json").write_text(json.dumps(sidecar))
    settings["BACKUP_DIR"] = str(directory)
    taken = {}
    for name, words in (("first list (adoption)", ["list"]), ("list", ["list"]), ("status", ["status"]), ("check", ["check"]),
                        ("prune", ["prune"]), ("list after it", ["list"])):
        one = measure.run([HUBVAULT, *words], bench.source, settings, accepted=(0, 1, 3))
        taken[name] = (one.seconds, one.peak_mb, one.read_mb, one.client_cpu)
        left = len(list(directory.glob("*.age")))
        print(f"  {name}: {one.seconds:.2f} s, {left} archives", file=sys.stderr)
    return taken
