# SPDX-License-Identifier: MIT
"""Memory runs out: the VM that asked waits, goes on by itself, and not a byte of it is wrong.

The guest is guests/fill.c, which computes what it writes from page numbers. This file does
the same, so it judges the sum that the guest prints at the end. Where one VM must hold
memory until another waits, it holds until a key is typed: no test depends on speed.
"""

import random
import struct

import pytest
from conftest import guest, linux, on_both_vendors

MASK = (1 << 64) - 1
WORDS = 512
STEP = 0x9E3779B97F4A7C15
FACTOR = 31


# --- what guests/fill.c must print ---------------------------------------------------------

def first_word(page, generation):
    z = ((generation << 40) + page + 1) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def times_written(page_count, passes):
    """Returns how often mode=thrash writes each page."""
    times, state = [0] * page_count, 0
    for _ in range(page_count * passes):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        times[(state >> 33) % page_count] += 1
    return times


def checksum(mib, mode="fill", passes=3):
    page_count = mib * 256
    generations = [passes if mode == "sweep" else 1] * page_count
    if mode == "thrash":
        generations = times_written(page_count, passes)
    total = 0
    for page, generation in enumerate(generations):
        page_sum = WORDS * first_word(page, generation) + STEP * (WORDS * (WORDS - 1) // 2)
        total = (total * FACTOR + page_sum) & MASK
    return total


def words_sum(data):
    total = 0
    for word, in struct.iter_unpack("<Q", data):
        total = (total * FACTOR + word) & MASK
    return total


# --- helpers -------------------------------------------------------------------------------

def fill(name, mib, *words, **keys):
    """Returns a [vm] section with guests/fill.c; `words` are more words of its command line."""
    settings = {"memory": "256M", "reserve": "16M", "share": "none", **keys}
    return guest(name, "fill", cmdline=" ".join([f"mib={mib}", *words]), **settings)


def key_for(name):
    """Returns steps that type the key for which a guest with hold=1 waits."""
    return [("send", rf"attach {name}\n"), ("expect", "fill: written"), ("send", " ")]


def check_done(run, name, mib, mode="fill", passes=3):
    """Asserts that the guest found what it wrote. While attached, its lines have no [NAME]."""
    assert f"fill: checksum {checksum(mib, mode, passes)}" in run.output, run
    assert "not ok" not in run.output, run
    assert run.stop_of(name)["reason"] == "debug exit", run
    assert run.stop_of(name)["status"] == 0, run


def states(run, name):
    return [event["state"] for event in run.events("vm") if event["vm"] == name]


def order(run, *wanted):
    """Asserts that the first events of these (vm, state) pairs came in this order."""
    seen = [(event["vm"], event["state"]) for event in run.events("vm")]
    places = [seen.index(pair) for pair in wanted]
    assert places == sorted(places), run


WAITING = "paused: out of memory"


# --- one waits -----------------------------------------------------------------------------

@on_both_vendors
def test_the_vm_that_asked_waits_and_goes_on_by_itself(quire):
    """`two` holds 100 MiB, and 220 MiB are reserved for it, so `one` cannot have all it wants."""
    conf = (fill("two", 100, "hold=1", reserve="220M") +
            fill("one", 350, memory="512M", reserve="128M"))
    run = quire.run(conf, "--memory", "512M", steps=[
        ("expect", '"vm":"one","state":"paused"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        *key_for("two"),
    ])
    assert run.status == 0, run
    assert states(run, "two") == ["started", "stopped"], run
    assert states(run, "one") == ["started", "paused", "resumed", "stopped"], run
    order(run, ("one", "paused"), ("two", "stopped"), ("one", "resumed"), ("one", "stopped"))
    lines = [line for line in run.output.splitlines() if WAITING in line]
    assert lines == ["vm one: paused: out of memory (needs 1 page)"], run
    # `two` did not wait, so memory was never exhausted.
    assert run.events("memory") == [], run
    check_done(run, "one", 350)
    check_done(run, "two", 100)


def line_after(run, name, start):
    return next(line[len(start):] for line in run.log_of(name) if line.startswith(start))


def test_debian_waits_and_its_data_are_right(quire):
    """Like the first test, with Debian's kernel: `two` is at its shell with memory reserved."""
    conf = (linux("two", "shell", memory="192M", reserve="100M", share="none", serial="console") +
            linux("one", "fill fill=80", memory="256M", reserve="32M", share="none",
                  autostart="no"))
    run = quire.run(conf, "--memory", "256M", steps=[
        ("send", r"head -c 8m /dev/urandom > /tmp/data; sha256sum < /tmp/data > /tmp/sum\n"),
        ("send", r"\x1d"),
        ("send", r"start one\n"),
        ("expect", '"vm":"one","state":"paused"'),
        ("send", r"attach two\n"),
        ("send", r"sha256sum < /tmp/data | cmp - /tmp/sum && echo equal $((6 * 7))\n"),
        ("expect", "equal 42"),
        ("send", r"poweroff -f\n"),
    ])
    assert run.status == 0, run
    assert states(run, "two") == ["started", "stopped"], run
    assert states(run, "one")[-1] == "stopped" and "resumed" in states(run, "one"), run
    order(run, ("one", "paused"), ("two", "stopped"), ("one", "resumed"), ("one", "stopped"))
    assert run.stop_of("one")["reason"] == "power-off", run
    assert line_after(run, "one", "one: wrote ") == line_after(run, "one", "one: kept "), run


@on_both_vendors
def test_a_vm_inside_its_reservation_never_waits(quire):
    """`greedy` has taken all that is not reserved, and is first in the queue for more. Then
    `inside` starts and uses every page of its reservation."""
    conf = (fill("greedy", 200, "mode=thrash", "passes=1", priority="high") +
            fill("inside", 45, "mode=sweep", memory="64M", reserve="64M", priority="low",
                 autostart="no"))
    run = quire.run(conf, "--memory", "256M", steps=[
        ("expect", '"vm":"greedy","state":"paused"'),
        ("send", r"start inside\n"),
    ])
    assert run.status == 0, run
    assert states(run, "inside") == ["started", "stopped"], run
    order(run, ("greedy", "paused"), ("inside", "started"), ("inside", "stopped"),
          ("greedy", "resumed"))
    check_done(run, "inside", 45, "sweep")
    check_done(run, "greedy", 200, "thrash", 1)


@on_both_vendors
def test_priority_goes_before_age(quire):
    """`low` begins to wait before `high`, and yet `high` is served first."""
    conf = (fill("holder", 60, "hold=1", reserve="100M") +
            fill("low", 140, priority="low") +
            fill("high", 40, priority="high", autostart="no"))
    run = quire.run(conf, "--memory", "256M", steps=[
        ("expect", '"vm":"low","state":"paused"'),
        ("send", r"start high\n"),
        ("expect", '"vm":"high","state":"paused"'),
        *key_for("holder"),
    ])
    assert run.status == 0, run
    order(run, ("low", "paused"), ("high", "paused"), ("holder", "stopped"),
          ("high", "resumed"), ("low", "resumed"))
    check_done(run, "holder", 60)
    check_done(run, "low", 140)
    check_done(run, "high", 40)


@on_both_vendors
def test_a_paused_vm_gives_up_its_place(quire):
    conf = (fill("holder", 60, "hold=1", reserve="100M") +
            fill("low", 140, priority="low") +
            fill("high", 40, priority="high", autostart="no"))
    run = quire.run(conf, "--memory", "256M", steps=[
        ("expect", '"vm":"low","state":"paused"'),
        ("send", r"start high\n"),
        ("expect", '"vm":"high","state":"paused"'),
        ("send", r"pause high\n"),
        ("expect", '"reason":"by the operator"'),
        *key_for("holder"),
        ("expect", '"vm":"low","state":"stopped"'),
        ("send", r"resume high\n"),
    ])
    assert run.status == 0, run
    assert states(run, "high") == ["started", "paused", "paused", "paused", "resumed", "stopped"], run
    order(run, ("holder", "stopped"), ("low", "resumed"), ("low", "stopped"), ("high", "resumed"))
    check_done(run, "low", 140)
    check_done(run, "high", 40)


# --- all wait ------------------------------------------------------------------------------

@on_both_vendors
def test_when_all_wait_the_operator_is_told_and_stops_one(quire):
    conf = fill("one", 150) + fill("two", 150, priority="low")
    run = quire.run(conf, "--memory", "256M", steps=[
        ("expect", '"state":"exhausted"'),
        # A VM that waits obeys the operator at once.
        ("send", r"pause two\n"),
        ("expect", '"reason":"by the operator"'),
        ("send", r"resume two\n"),
        ("expect", '"reason":"out of memory"'),
        ("send", r"list --json\n"),
        ("expect", '"vms"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"stop two\n"),
    ])
    assert run.status == 0, run
    exhausted, = run.events("memory")
    assert exhausted == {"event": "memory", "state": "exhausted", "waiting": [
        {"vm": "one", "pages": 1, "priority": "normal"},
        {"vm": "two", "pages": 1, "priority": "low"}]}, run
    assert "memory: exhausted, every VM waits: one (1 page, normal), two (1 page, low)" in run.output
    assert {vm["state"] for vm in run.objects()[-1]["vms"]} == {"paused (out of memory)"}, run
    assert states(run, "one") == ["started", "paused", "resumed", "stopped"], run
    assert run.stop_of("two")["reason"] == "by the operator", run
    check_done(run, "one", 150)


@on_both_vendors
def test_a_reset_of_one_lets_the_other_go_on(quire):
    """What a reset frees goes to the VM that waits, and the one that was reset begins anew."""
    conf = fill("one", 150) + fill("two", 150)
    run = quire.run(conf, "--memory", "256M", steps=[
        ("expect", '"state":"exhausted"'),
        ("send", r"reset two\n"),
        ("expect", '"vm":"one","state":"stopped"'),
    ])
    assert run.status == 0, run
    assert run.started() == ["one", "two", "two"], run
    order(run, ("one", "paused"), ("one", "resumed"), ("one", "stopped"), ("two", "stopped"))
    check_done(run, "one", 150)
    check_done(run, "two", 150)


# --- no room for the kernel ------------------------------------------------------------------

@on_both_vendors
def test_a_kernel_that_finds_no_room_is_loaded_later(quire):
    data = random.Random(1).randbytes(24 << 20)
    conf = (fill("hog", 250, memory="512M") +
            fill("late", 8, memory="128M", reserve="1M", initrd="data", autostart="no"))
    run = quire.run(conf, "--memory", "256M", "--module",
                    f"{quire.file('data', data)}:data", steps=[
        ("expect", '"state":"exhausted"'),
        ("send", r"start late\n"),
        ("expect", '"vm":"late","state":"paused"'),
        ("expect", '"state":"exhausted"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"stop hog\n"),
    ])
    assert run.status == 0, run
    assert states(run, "late") == ["paused", "started", "stopped"], run
    alone, both = run.events("memory")
    assert [waiter["vm"] for waiter in alone["waiting"]] == ["hog"], run
    assert [waiter["vm"] for waiter in both["waiting"]] == ["hog", "late"], run
    assert 1 < both["waiting"][1]["pages"] <= (24 << 20) // 4096 + 16, run
    assert f"fill: initrd {words_sum(data)}" in run.log_of("late"), run
    check_done(run, "late", 8)


@on_both_vendors
@pytest.mark.parametrize("command, state", [("stop", "stopped"), ("reset", "paused")])
def test_a_vm_that_waits_for_its_kernel_obeys(quire, command, state):
    data = random.Random(1).randbytes(24 << 20)
    conf = (fill("hog", 250, memory="512M") +
            fill("late", 8, memory="128M", reserve="1M", initrd="data", autostart="no"))
    run = quire.run(conf, "--memory", "256M", "--module",
                    f"{quire.file('data', data)}:data", steps=[
        ("expect", '"state":"exhausted"'),
        ("send", r"start late\n"),
        ("expect", '"vm":"late","state":"paused"'),
        ("send", rf"{command} late\n"),
        ("expect", f'"vm":"late","state":"{state}"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"poweroff\n"),
    ])
    assert run.status == 0, run
    assert states(run, "late")[:2] == ["paused", state], run


@on_both_vendors
def test_start_is_refused_where_others_have_the_reservation(quire):
    conf = (fill("one", 150, memory="512M", autostart="no") +
            fill("two", 8, reserve="200M"))
    run = quire.run(conf, "--memory", "256M", "--quire", "exit=prompt", steps=[
        ("expect", '"vm":"two","state":"stopped"'),
        ("send", r"start one\n"),
        ("expect", '"vm":"one","state":"stopped"'),
        ("send", r"start two\n"),
        ("expect", '"vm":"two","state":"stopped"'),
        ("send", r"create big kernel=fill.bzimage memory=256M reserve=200M serial=log autostart=no\n"),
        ("send", r"start two\n"),
        ("expect", "not possible: two reserves 200M, of which "),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"poweroff\n"),
    ])
    assert run.status == 0, run
    # It was not paused, because it got the memory that `two` had reserved.
    assert states(run, "one") == ["started", "stopped"], run
    check_done(run, "one", 150)


# --- less memory than was promised -------------------------------------------------------------

@on_both_vendors
@pytest.mark.parametrize("percent, mib, mode", [
    (25, 44, "sweep"), (25, 44, "race"), (50, 90, "thrash"), (50, 90, "zero"), (100, 120, "race"),
])
def test_one_vm_beyond_what_the_machine_has(quire, percent, mib, mode):
    conf = fill("one", mib, f"mode={mode}", vcpus=2)
    run = quire.run(conf, "--memory", f"{256 * percent // 100}M")
    assert run.status == 0, run
    assert states(run, "one") == ["started", "stopped"], run
    check_done(run, "one", mib, mode)


@on_both_vendors
@pytest.mark.parametrize("percent, mib", [(25, 42), (50, 100), (100, 100)])
@pytest.mark.parametrize("first, second", [("sweep", "race"), ("zero", "thrash")])
def test_two_vms_beyond_what_the_machine_has(quire, percent, mib, first, second):
    """Each is promised 128 MiB. If these do not fit, the second has to wait for the first."""
    reserve, must_wait = {25: "20M", 50: "32M", 100: "32M"}[percent], percent < 100
    conf = (fill("first", 16, f"mode={first}", "hold=1", memory="128M", reserve=reserve) +
            fill("second", mib, f"mode={second}", "passes=2", memory="128M", vcpus=2))
    steps = [("expect", '"vm":"second","state":"paused"')] if must_wait else []
    run = quire.run(conf, "--memory", f"{256 * percent // 100}M",
                    steps=[*steps, *key_for("first")])
    assert run.status == 0, run
    assert states(run, "first") == ["started", "stopped"], run
    waited = ["paused", "resumed"] if must_wait else []
    assert states(run, "second") == ["started", *waited, "stopped"], run
    check_done(run, "first", 16, first)
    check_done(run, "second", mib, second, 2)
