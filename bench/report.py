"""What was measured, as a page: `RESULTS.md`."""

import os
import platform
import subprocess
from statistics import median

OURS = "hubvault "


def render(results, options, source):
    """The whole page."""
    parts = [HEAD, machine(options, source), targets(results, options.scale >= 1)]
    for name, result in results["sets"].items():
        parts.append(table(name, result))
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
                    ["zstd", "--version"], ["gzip", "--version"], ["tar", "--version"]):
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


def without_read_back(taken):
    """Only a backup of hubvault has that stage."""
    return median(one.seconds - one.note.get("integrity", 0.0) for one in taken)


def table(name, result):
    """One data set: every contender's medians, and the spread of its seconds."""
    base = result["taken"].get("pg_dump -Fd -j2")
    lines = [f"## `{name}`", "", result["described"] + ".", "",
             "| | seconds | all rounds | without read-back | of `pg_dump -Fd -j2` | MB | client CPU s | server CPU s | peak MB |",
             "|---|---:|---|---:|---:|---:|---:|---:|---:|"]
    for who, taken in result["taken"].items():
        read_back = f"{without_read_back(taken):.2f}" if who.startswith(OURS) else ""
        dump = not who.startswith(("restore", "proof"))
        ratio = f"{seconds(taken) / seconds(base):.2f}" if base and dump else ""
        size = f"{median(one.size_mb for one in taken):,.0f}" if taken[0].size_mb else ""
        every = ", ".join(f"{one.seconds:.1f}" for one in taken)
        lines.append(f"| {who.replace('|', chr(92) + '|')} | {seconds(taken):.2f} | {every} | {read_back} | {ratio} | {size} | "
                     f"{median(one.client_cpu for one in taken):.1f} | {median(one.server_cpu for one in taken):.1f} | "
                     f"{max(one.peak_mb for one in taken):.0f} |")
    return "\n".join(lines) + "\n"


def targets(results, full):
    """Each target with what was reached; what was not measured is said."""
    sets = {name: result["taken"] for name, result in results["sets"].items()}
    rows = []

    def row(name, what, limit, reached, unit=""):
        verdict = "met" if reached <= limit else "**missed**"
        if not full:
            verdict += " (not the size of the targets)"
        rows.append(f"| {name} | {what} | <= {limit:.2f}{unit} | {reached:.2f}{unit} | {verdict} |")

    def size(taken):
        return median(one.size_mb for one in taken)

    two = sets.get("two-tables")
    if two:
        dump = two["pg_dump -Fd -j2"]
        for target, codec, time, space in (("F1", "gzip-1", 0.40, 1.00), ("F2", "zstd-1", 0.30, 0.90)):
            ours = two[f"hubvault {codec}"]
            row(target, f"{codec} without read-back, of `pg_dump -Fd -j2`: time", time, without_read_back(ours) / seconds(dump))
            row(target, "the same: size", space, size(ours) / size(dump))
        row("F2", "zstd-1 without read-back, of the COPY floor", 1.30,
            without_read_back(two["hubvault zstd-1"]) / seconds(two["COPY floor"]))
    one = sets.get("one-table")
    if one:
        row("F3", "`one-table`, zstd-1 with read-back, of `pg_dump -Fc -Z1`", 0.60,
            seconds(one["hubvault zstd-1"]) / seconds(one["pg_dump -Fc -Z1"]))
    hub = sets.get("hub")
    if hub:
        row("F4", "`hub`, defaults with read-back, of table by table, then tar", 0.25,
            seconds(hub["hubvault (default)"]) / seconds(hub["table by table, then tar"]))
    peaks = [one.peak_mb for taken in sets.values() for who, all in taken.items() if who.startswith(OURS) for one in all]
    row("F6", "peak memory of hubvault's backups, every data set", 96, max(peaks), " MB")
    if "flat" in results:
        for codec, taken in results["flat"]["taken"].items():
            row("F6", f"the same at ten times `two-tables`, {codec}-1 ({taken.size_mb:,.0f} MB archive)", 96, taken.peak_mb, " MB")
    for name, limit in (("two-tables", 0.75), ("one-table", 0.60)):
        if name in sets:
            row("F7", f"restore of `{name}`, of `pg_restore -j2`", limit,
                seconds(sets[name]["restore: hubvault"]) / seconds(sets[name]["restore: pg_restore -j2"]))
    if two:
        row("F8", "whole proof of `two-tables`, of `pg_restore -j2` alone", 1.30,
            seconds(two["proof: hubvault drill"]) / seconds(two["restore: pg_restore -j2"]))
    if "large" in results:
        taken = results["large"]["taken"]
        row("F9", f"one small table out of a {taken.size_mb / 1000:.1f} GB archive", 1.0, taken.seconds, " s")
        row("F9", "the same: part of the archive's bytes read", 1.0, 100 * taken.read_mb / taken.size_mb, " %")
    many = sets.get("many")
    if many:
        row("F10", "`many`, zstd-1 with read-back, of `pg_dump -Fd -j2`", 1.0,
            seconds(many["hubvault zstd-1"]) / seconds(many["pg_dump -Fd -j2"]))
    lines = ["## Targets", "", "| | measure | target | reached | |", "|---|---|---:|---:|---|", *rows, ""]
    missing = [name for name, there in (("F1, F2, F8", two), ("F3", one), ("F4", hub), ("F6 at ten times", "flat" in results),
                                        ("F9", "large" in results), ("F10", many)) if not there]
    if missing:
        lines.append(f"Not measured in this run: {', '.join(missing)}.\n")
    lines.append("Statements that one default backup asks of the server, those of `pg_dump` for the definitions among them:\n")
    for name, result in results["sets"].items():
        if not result["statements"]:
            continue
        lines.append(f"- `{name}`: {result['statements']:,} for {result['tables']:,} tables"
                     f" ({result['statements'] / max(1, result['tables']):.1f} a table)")
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
