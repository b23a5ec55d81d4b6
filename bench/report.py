"""What was measured, as a page: `RESULTS.md`."""

import os
import platform
import subprocess
from statistics import median

OURS = "hubvault "
DEFAULT = "hubvault (default)"
DIRECTORY = "pg_dump -Fd -j2"
CUSTOM = "pg_dump -Fc -Z1"
RESTORE = "restore: hubvault"
PG_RESTORE = "restore: pg_restore -j2"
ALL = ["F1", "F2", "F3", "F4", "F4s", "F6", "F7", "F8", "F9", "F10", "F11", "F12", "F13"]


def render(results, options, source):
    """The whole page."""
    parts = [HEAD, machine(options, source), targets(results, options.scale >= 1)]
    parts += [table(f"`{name}`", result) for name, result in results["full"].items()]
    parts += [table(f"`{name}` at a twentieth", result) for name, result in results["small"].items()]
    if "catalog" in results:
        parts.append(catalog(results["catalog"]))
    if "impact" in results:
        parts.append(impact(results["impact"]))
    return "\n".join(parts)


HEAD = """# Results

Written by `bench/run.py` (`make bench`, or `make bench-quick` for a small one); nothing here is typed by hand. Every
contender of a data set runs once a round, in turn, on the same servers; each round begins with another one. A ratio is a
ratio of medians. MB are 10^6 bytes. CPU seconds: the client's with its children, and the server's with its backends.
Peak memory is that of the process itself (VmHWM), not of its children.

A backup of hubvault is read back whole before it counts; `without read-back` subtracts that stage. What the figures mean
for the defaults, and why a target is missed, is in `docs/performance.md`.
"""


def machine(options, source):
    """Where and with what."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    lines = [f"{os.cpu_count()} cores ({model}), {memory:.0f} GB, Linux {platform.release()}; "
             f"scale {options.scale:g}, {options.rounds} rounds.", ""]
    for command in (["hubvault", "--version"], ["postgres"], ["pg_dump", "--version"], ["pgbackrest", "version"],
                    ["restic", "version"],                    ["zstd", "--version"], ["gzip", "--version"], ["tar", "--version"]):
        lines.append("- " + version(command, source))
    return "\n".join(lines) + "\n"


def version(command, source):
    if command == ["postgres"]:
        return "server: PostgreSQL " + source.sql("SHOW server_version")
    import peers
    program = str(peers.HUBVAULT) if command[0] == "hubvault" else command[0]
    try:
        said = subprocess.run([program, *command[1:]], capture_output=True, text=True).stdout.strip().splitlines()
    except OSError:
        return f"{command[0]}: not here, left out"
    return said[0].strip("* ") if said else command[0]


def seconds(taken):
    return median(one.seconds for one in taken)


def size(taken):
    return median(one.size_mb for one in taken)


def without_read_back(taken):
    """Only a backup of hubvault has that stage."""
    return median(one.seconds - one.note.get("integrity", 0.0) for one in taken)


def table(title, result):
    """One data set: every contender's medians, and the spread of its seconds."""
    base = result["taken"].get(DIRECTORY)
    lines = [f"## {title}", "", result["described"] + ".", "",
             "| | seconds | all rounds | without read-back | of `pg_dump -Fd -j2` | MB | client CPU s | server CPU s | peak MB |",
             "|---|---:|---|---:|---:|---:|---:|---:|---:|"]
    for who, taken in result["taken"].items():
        read_back = f"{without_read_back(taken):.2f}" if who.startswith(OURS) else ""
        dump = not who.startswith(("restore", "proof"))
        ratio = f"{seconds(taken) / seconds(base):.2f}" if base and dump else ""
        megabytes = f"{size(taken):,.0f}" if taken[0].size_mb else ""
        every = ", ".join(f"{one.seconds:.1f}" for one in taken)
        lines.append(f"| {who.replace('|', chr(92) + '|')} | {seconds(taken):.2f} | {every} | {read_back} | {ratio} | {megabytes} | "
                     f"{median(one.client_cpu for one in taken):.1f} | {median(one.server_cpu for one in taken):.1f} | "
                     f"{max(one.peak_mb for one in taken):.0f} |")
    return "\n".join(lines) + "\n"


def reached(results):
    """Each target that was measured: its name, what is measured, the limit, what was reached, the unit."""
    full, small = ({name: result["taken"] for name, result in results[size].items()} for size in ("full", "small"))
    rows = []

    def row(name, what, limit, reached, unit=""):
        rows.append((name, what, limit, reached, unit))

    def ratio(name, what, limit, taken, ours, peer, measured=seconds):
        if ours in taken and peer in taken:
            row(name, what, limit, measured(taken[ours]) / seconds(taken[peer]))

    two, small_two = full.get("two-tables", {}), small.get("two-tables", {})
    one, hub, small_hub = full.get("one-table", {}), full.get("hub", {}), small.get("hub", {})
    for name, codec, time, space in (("F1", "gzip-1", 0.33, 1.00), ("F2", "zstd-1", 0.22, 0.90)):
        ours = f"hubvault {codec}"
        ratio(name, f"`two-tables`, {codec} without read-back, of `pg_dump -Fd -j2`", time, two, ours, DIRECTORY, without_read_back)
        if two:
            row(name, "the same: size", space, size(two[ours]) / size(two[DIRECTORY]))
    ratio("F2", "zstd-1 without read-back, of the COPY floor", 1.18, two, "hubvault zstd-1", "COPY floor", without_read_back)
    ratio("F3", "`one-table`, zstd-1 with read-back, of `pg_dump -Fc -Z1`", 0.45, one, "hubvault zstd-1", CUSTOM)
    ratio("F4", "`hub`, defaults with read-back, of table by table, then tar", 0.33, hub, DEFAULT, "table by table, then tar")
    ratio("F4s", "the same at a twentieth", 0.40, small_hub, DEFAULT, "table by table, then tar")
    if two:
        row("F6", "peak memory, everything on", 64, max(one.peak_mb for one in two["hubvault, everything on"]), " MB")
    for codec, taken in results.get("flat", {}).get("taken", {}).items():
        row("F6", f"at ten times `two-tables`, {codec}-1 ({taken.size_mb:,.0f} MB archive)", 64, taken.peak_mb, " MB")
    for name, taken in (("two-tables", two), ("one-table", one)):
        ratio("F7", f"restore of `{name}`, compared, of `pg_restore -j2`", 1.10, taken, RESTORE, PG_RESTORE)
        ratio("F7", "the same with `--compare counts`", 0.90, taken, f"{RESTORE} --compare counts", PG_RESTORE)
    ratio("F8", "whole proof of `two-tables`, of `pg_restore -j2` alone", 1.25, two, "proof: hubvault drill", PG_RESTORE)
    ratio("F8", "the same at a twentieth", 1.80, small_two, "proof: hubvault drill", PG_RESTORE)
    if "large" in results:
        taken = results["large"]["taken"]
        row("F9", f"one small table out of a {taken.size_mb / 1000:.1f} GB archive", 1.0, taken.seconds, " s")
        row("F9", "the same: part of the archive's bytes read", 1.0, 100 * taken.read_mb / taken.size_mb, " %")
    for taken, what, limit in ((full, "`many`, zstd-1 with read-back, of `pg_dump -Fd -j2`", 0.70), (small, "the same with 100 tables", 1.10)):
        ratio("F10", what, limit, taken.get("many", {}), "hubvault zstd-1", DIRECTORY)
    tables = full.get("20000 tables", {})
    ratio("F11", "20,000 tables, defaults, of `pg_dump -Fd -j2`", 0.80, tables, DEFAULT, DIRECTORY)
    if tables:
        row("F11", "the same: peak memory", 96, max(one.peak_mb for one in tables[DEFAULT]), " MB")
    for what in ("list", "status", "check"):
        if "catalog" in results:
            row("F12", f"`{what}` with {results['catalog']['archives']:,} backups", 0.20, results["catalog"]["taken"][what][0], " s")
    ratio("F13", "`accounts`, defaults with read-back, of `pg_dump -Fc -Z1`", 0.80, full.get("accounts", {}), DEFAULT, CUSTOM)
    return rows


def targets(results, is_full):
    """Each target with what was reached; what was not measured is said."""
    there = reached(results)
    lines = ["## Targets", "", "| | measure | target | reached | |", "|---|---|---:|---:|---|"]
    for name, what, limit, found, unit in there:
        verdict = "met" if found <= limit else "**missed**"
        if not is_full:
            verdict += " (not the size of the targets)"
        lines.append(f"| {name} | {what} | <= {limit:.2f}{unit} | {found:.2f}{unit} | {verdict} |")
    lines.append("")
    missing = [name for name in ALL if name not in {row[0] for row in there}]
    if missing:
        lines.append(f"Not measured in this run: {', '.join(missing)}.\n")
    lines.append("Statements that one default backup asks of the server, those of `pg_dump` for the definitions among them:\n")
    for name, result in results["full"].items():
        if not result["statements"]:
            continue
        lines.append(f"- `{name}`: {result['statements']:,} for {result['tables']:,} tables"
                     f" ({result['statements'] / max(1, result['tables']):.1f} a table)")
    return "\n".join(lines) + "\n"


def catalog(result):
    """What many archives cost."""
    lines = [f"## {result['archives']:,} archives in a directory", "", "| | seconds | CPU s | peak MB |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {taken[0]:.2f} | {taken[3]:.2f} | {taken[1]:.0f} |" for name, taken in result["taken"].items()]
    return "\n".join(lines) + "\n"


def impact(result):
    """What a living system feels."""
    alone = median(tps for tps, _ in result["alone"])
    lines = ["## What the source feels", "",
             "`pgbench -c 2` on another database of the same server while a backup of `two-tables` runs.", "",
             "| | transactions a second | of alone | the backup took |", "|---|---:|---:|---:|"]
    for name, rounds in result.items():
        tps = median(tps for tps, _ in rounds)
        took = f"{median(seconds for _, seconds in rounds):.1f} s" if name != "alone" else ""
        lines.append(f"| {name} | {tps:,.0f} | {tps / alone:.2f} | {took} |")
    return "\n".join(lines) + "\n"
