#!/usr/bin/env python3
"""hubvault beside its peers, in turn in the same run.

    bench/run.py [--scale S] [--rounds N] [--sets a,b,...] [--large MB] [--out FILE]

Starts two PostgreSQL servers of its own below a temporary directory (a source, and one that
restores go to) and removes them. Needs about 6 GB of disk at scale 1, and three times --large.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import archives
import data
import peers
import plot
import report
from server import SOURCE, THROWAWAY, Server

SETS = ["two-tables", "one-table", "accounts", "toast", "many", "hub", "narrow", "20000 tables"]
# Where most users are: a twentieth of the size.
SMALL = ["two-tables", "many", "hub"]
SMALLER = 0.05


def contenders(name, bench):
    """What is measured on a data set: a name for each, and the function that does it once."""
    ours = {
        "hubvault (default)": lambda: bench.hubvault("default"),
        "hubvault gzip-1": lambda: bench.hubvault("gzip-1", "gzip", 1),
        "hubvault zstd-1": lambda: bench.hubvault("zstd-1", "zstd", 1),
    }
    custom = {"pg_dump -Fc -Z1": lambda: bench.dump("Fc-Z1", "-Fc", "-Z1")}
    directory = {"pg_dump -Fd -j2": lambda: bench.dump("Fd", "-Fd", "-j2")}
    more = {
        "hubvault gzip-4": lambda: bench.hubvault("gzip-4", "gzip", 4),
        "hubvault zstd-3": lambda: bench.hubvault("zstd-3", "zstd", 3),
        "pg_dump -Fd -j2 -Z1": lambda: bench.dump("Fd-Z1", "-Fd", "-j2", "-Z1"),
        "pg_dump -Fc": lambda: bench.dump("Fc", "-Fc"),
        "pg_dump | gzip": lambda: bench.shell("gzip", "pg_dump | gzip > dump.sql.gz"),
        "pg_dump | zstd -3 -T2": lambda: bench.shell("zstd", "pg_dump | zstd -q -3 -T2 > dump.sql.zst"),
    }
    floor = {"COPY floor": bench.floor}
    restores = {
        "restore: pg_restore -j2": bench.pg_restore,
        "restore: pg_restore -j2, ANALYZE": bench.pg_restore_and_analyze,
        "restore: hubvault": lambda: bench.restore("zstd-1"),
        "restore: hubvault --compare counts": lambda: bench.restore("zstd-1", "--compare", "counts"),
        "proof: hubvault drill": lambda: bench.drill("zstd-1"),
    }
    if name == "two-tables":
        physical = {"pgBackRest zst-3, whole cluster": bench.pgbackrest} if shutil.which("pgbackrest") else {}
        restic = {"pg_dump | restic": bench.restic} if shutil.which("restic") else {}
        on = {"hubvault, everything on": bench.everything_on}
        return ours | directory | more | physical | restic | on | floor | restores | {"restore: psql < dump": bench.psql}
    if name == "one-table":
        return ours | directory | custom | restores
    if name == "accounts":
        return ours | directory | custom
    if name == "20000 tables":
        return {"hubvault (default)": ours["hubvault (default)"]} | directory
    if name == "hub":
        return ours | directory | {"table by table, then tar": bench.table_by_table}
    return ours | directory


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--scale", type=float, default=1.0, help="1 is what the targets speak of")
    words.add_argument("--rounds", type=int, default=3, help="how often each contender runs")
    words.add_argument("--sets", default=",".join(SETS), help="which data sets")
    words.add_argument("--sizes", default="full,small", help="small: the data sets of most users, at a twentieth")
    words.add_argument("--catalog", type=int, default=0, help="archives in the directory of list, status and check; 0 leaves it out")
    words.add_argument("--large", type=int, default=0, help="MB of an archive to take one small table from; 0 leaves it out")
    words.add_argument("--flat", action="store_true", help="peak memory of a tenfold data set, too")
    words.add_argument("--impact", action="store_true", help="pgbench beside a backup, too")
    words.add_argument("--out", type=lambda text: Path(text).absolute(), default=Path(__file__).parent / "RESULTS.md")
    options = words.parse_args()
    os.chdir("/tmp")
    if not peers.HUBVAULT.exists():
        raise SystemExit("no release build here: run `make build`")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # The servers must go whoever ends the run.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("stopped; what was measured is written"))
    place = Path(tempfile.mkdtemp(prefix="hubvault-bench-", dir="/tmp"))
    place.chmod(0o755)
    servers = []
    try:
        source = Server(place / "source", SOURCE)
        servers.append(source)
        target = Server(place / "target", THROWAWAY)
        servers.append(target)
        (place / "work").mkdir()
        # Written after each part: what breaks off an hour's run does not take it along.
        for results in measure_all(options, place / "work", source, target):
            options.out.write_text(report.render(results, options, source))
            options.out.with_suffix(".svg").write_text(plot.draw(report.reached(results)))
        print(f"\nwritten: {options.out}")
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(place, ignore_errors=True)


def measure_all(options, work, source, target):
    """Data set by data set, so that the disk holds one at a time; yields all results so far after each."""
    results = {"full": {}, "small": {}}
    wanted = options.sets.split(",")
    sizes = {"full": (wanted, 1.0), "small": ([name for name in SMALL if name in wanted], SMALLER)}
    for size in options.sizes.split(","):
        names, scale = sizes[size]
        for name in names:
            impact = options.impact and (size, name) == ("full", "two-tables")
            results[size][name], felt = one_set(name, options.scale * scale, options.rounds, impact, (work, source, target))
            results |= felt
            yield results
    if options.catalog:
        print(f"\n{options.catalog} archives", flush=True)
        place = work / "catalog"
        place.mkdir()
        bench = peers.Bench(place, source, target, "tiny")
        results["catalog"] = {"archives": options.catalog, "taken": archives.many(bench, place, options.catalog)}
        source.sql("DROP DATABASE tiny")
        shutil.rmtree(place)
        yield results
    if options.flat:
        results["flat"] = one(work, source, target, "two-tables", options.scale * 10, lambda bench: {
            codec: bench.hubvault(codec, codec, 1) for codec in ("zstd", "gzip")})
        yield results
    if options.large:
        results["large"] = one(work, source, target, "large", options.large / 10_000, lambda bench: bench.one_of_many())
        yield results


def one_set(name, scale, count, impact, place):
    """A data set and its contenders, and what a living system beside them feels."""
    work, source, target = place
    database, described = data.make(source, name, scale)
    print(f"\n{name}: {described}", flush=True)
    scope = None if name == "hub" else peers.EVERYTHING
    bench = peers.Bench(work, source, target, database, scope)
    taken = rounds(contenders(name, bench), count, source, target)
    result = {"described": described, "taken": taken, "statements": bench.statements(), "tables": bench.tables()}
    felt = {"impact": bench.impact()} if impact else {}
    source.sql(f"DROP DATABASE {database}")
    target.sql("DROP DATABASE IF EXISTS restored")
    shutil.rmtree(bench.place)
    return result, felt


def one(work, source, target, name, scale, take):
    """A data set for a single question."""
    database, described = data.make(source, name, scale)
    print(f"\n{name}: {described}", flush=True)
    bench = peers.Bench(work, source, target, database)
    taken = take(bench)
    source.sql(f"DROP DATABASE {database}")
    shutil.rmtree(bench.place)
    return {"described": described, "taken": taken}


def rounds(contenders, count, source, target):
    """Each contender once a round, each round beginning with another, so that a slow minute of the
    machine hits all of them alike. Restores need what the dumps wrote: they come last in a round."""
    taken = {name: [] for name in contenders}
    first = [name for name in contenders if not name.startswith(("restore", "proof"))]
    last = [name for name in contenders if name not in first]
    for turn in range(count):
        cut = turn * max(1, len(first) // count) % len(first)
        shift = turn % max(1, len(last))
        for name in first[cut:] + first[:cut] + last[shift:] + last[:shift]:
            source.quiesce()
            target.quiesce()
            taken[name].append(contenders[name]())
            print(peers.as_rows(name, taken[name][-1]), flush=True)
    return taken


if __name__ == "__main__":
    sys.exit(main())
