# SPDX-License-Identifier: MIT
"""Finds the objects of a layer that need each other.

Object A needs object B if A uses a symbol that B defines. Objects that reach each
other this way form a cycle: none of them can be linked, tested or understood without
all the others. For each layer, layers.conf says how large its largest cycle is.
"""

import subprocess
from collections import defaultdict
from pathlib import Path

from layers import CONF, NO_OBJECTS

# The build makes a header from it, no object.
NOT_LINKED = "asm_offsets.c"


class NotBuilt(Exception):
    """An object that the graph needs is not there, or is older than its source."""


def objects_find(root, layers, build):
    """{module: {object file: name}} for every C and assembly file of the layers that are linked."""
    found = defaultdict(dict)
    for path in layers.kernel_files(root):
        if path.endswith(".h") or Path(path).name == NOT_LINKED:
            continue
        item = Path(build, "kernel", path).with_suffix(".o")
        if not item.is_file():
            raise NotBuilt(f"{item} does not exist: run `make` first, or name the folder with --build")
        if item.stat().st_mtime < (Path(root) / path).stat().st_mtime:
            raise NotBuilt(f"{item} is older than {path}: run `make` first")
        found[layers.find(path)][str(item)] = Path(path).stem
    return found


def symbols_read(objects):
    """Returns ({object: symbols that it needs}, {symbol: object that defines it})."""
    needs, defined_by = defaultdict(set), {}
    listing = subprocess.run(["nm", "-A", "-P", "-g", *objects], check=True, capture_output=True,
                             text=True).stdout
    for line in listing.splitlines():
        item, _, rest = line.partition(": ")
        symbol, kind = rest.split()[:2]
        if kind in "Uvw":  # undefined, or undefined and weak
            needs[item].add(symbol)
        else:
            defined_by[symbol] = item
    return needs, defined_by


def graph_make(objects, needs, defined_by):
    """{object: other objects of the same layer that it needs}"""
    return {item: {defined_by[symbol] for symbol in needs[item]
                   if defined_by.get(symbol) in objects} - {item}
            for item in objects}


def _reachable(graph, start):
    seen, waiting = set(), list(graph[start])
    while waiting:
        item = waiting.pop()
        if item not in seen:
            seen.add(item)
            waiting += graph[item]
    return seen


def largest_cycle(graph):
    """The largest set of objects that all reach each other; a single one if there is no cycle."""
    reach = {item: _reachable(graph, item) for item in graph}
    cycles = [{item} | {other for other in reach[item] if item in reach[other]} for item in graph]
    return max(cycles, key=len)


def measure(root, layers, build):
    """{module: (number of its objects, names of those in its largest cycle)}"""
    objects = objects_find(root, layers, build)
    needs, defined_by = symbols_read([item for items in objects.values() for item in items])
    result = {}
    for module, names in objects.items():
        cycle = largest_cycle(graph_make(names, needs, defined_by))
        result[module] = (len(names), sorted(names[item] for item in cycle))
    return result


def problems(layers, measured):
    for row in layers.rows:
        count, names = measured.get(row.module, (0, []))
        if row.has_objects() != bool(count):
            yield (f"{CONF}: {row.module} has objects: its row must allow a number of them" if count else
                   f"{CONF}: {row.module} has no objects: its row must say '{NO_OBJECTS}'")
        elif count and len(names) > row.cycle():
            yield (f"{row.module}: {len(names)} objects need each other, {CONF} allows {row.cycle()}: "
                   + " ".join(names))
        elif count and len(names) < row.cycle():
            yield (f"{CONF}: {row.module} allows a cycle of {row.cycle()} objects, the largest has "
                   f"{len(names)}: the number can go down to {len(names)}")


def table(layers, measured):
    """Lines for people."""
    yield f"{'layer':<10}{'objects':>8}{'largest cycle':>15}  members"
    for row in layers.rows:
        count, names = measured.get(row.module, (0, []))
        if count:
            members = " ".join(names) if len(names) > 1 else ""
            yield f"{row.module:<10}{count:>8}{len(names):>15}  {members}".rstrip()
