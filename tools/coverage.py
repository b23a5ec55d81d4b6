#!/usr/bin/env python3
"""Sums an lcov file up by crate and wing, without the tests themselves: summary.md and missed.txt."""

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "crates"
# Held to every line.
WHOLE = ("archive", "engine/proof", "engine/retain/policy")


def is_test(path):
    return "tests" in path.parts or path.stem == "tests" or path.parts[0] == "testkit"


def wing(path):
    """`archive`, `engine/proof`, `hubvault/cli`."""
    inner = path.parts[2:]
    if path.parts[0] in ("engine", "hubvault"):
        room = inner[0] if len(inner) > 1 else pathlib.Path(inner[0]).stem
        if str(pathlib.Path(*inner)) in ("retain/policy.rs",):
            room = "retain/policy"
        return f"{path.parts[0]}/{room}"
    return path.parts[0]


def tests_begin(text):
    """The line of the tests inside a file, which are no part of the product."""
    for number, line in enumerate(text, 1):
        if line == "#[cfg(test)]" and number < len(text) and re.match(r"mod \w+ \{", text[number]):
            return number
    return len(text) + 1


def main(lcov, out):
    counts = collections.defaultdict(dict)
    path = None
    for line in open(lcov, encoding="utf-8"):
        if line.startswith("SF:"):
            path = pathlib.Path(line[3:].strip())
            path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else None
        elif line.startswith("DA:") and path:
            number, count = map(int, line[3:].split(",")[:2])
            known = counts[path].get(number, 0)
            counts[path][number] = max(known, count)
    wings = collections.defaultdict(lambda: [0, 0])
    missed = []
    for path, lines in sorted(counts.items()):
        if is_test(path):
            continue
        text = (ROOT / path).read_text(encoding="utf-8").splitlines()
        end = tests_begin(text)
        for number, count in sorted(lines.items()):
            if number >= end:
                continue
            wings[wing(path)][0] += 1
            if count:
                wings[wing(path)][1] += 1
            else:
                missed.append(f"{path}:{number}: {text[number - 1].strip()}")
    every = [sum(column) for column in zip(*wings.values())]
    rows = ["| part | lines | run | |", "|---|---:|---:|---:|"]
    for name, (lines, run) in sorted(wings.items()):
        mark = "**" if name in WHOLE else ""
        rows.append(f"| {mark}{name}{mark} | {lines} | {run} | {100 * run / lines:.1f} % |")
    rows.append(f"| all | {every[0]} | {every[1]} | {100 * every[1] / every[0]:.1f} % |")
    out = pathlib.Path(out)
    (out / "summary.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (out / "missed.txt").write_text("\n".join(missed) + "\n", encoding="utf-8")


main(*sys.argv[1:])
