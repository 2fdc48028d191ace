# SPDX-License-Identifier: MIT
"""A guest that misbehaves is contained and reported once, and the others run on."""

import pytest
from conftest import guest, linux, on_both_vendors, on_every_machine, sum16


class Neighbour:
    """The guest beside the misbehaving one: Debian if its boot takes seconds, else a small one."""

    def __init__(self, machine):
        self._is_linux = machine.startswith("qemu")

    def conf(self, **keys):
        if self._is_linux:
            return linux("good", "sum16", **keys)
        return guest("good", "touch", **keys)

    def last_line(self):
        return f"good: sum16 {sum16('good')}" if self._is_linux else "ok touch.second_pass"

    def check(self, run):
        """Asserts that it has done its work as if it were alone."""
        assert self.last_line() in run.log_of("good"), run
        assert run.stop_of("good")["status"] == 0, run


@pytest.fixture
def neighbour(machine):
    return Neighbour(machine)


@on_both_vendors
def test_a_triple_fault_ends_that_guest_only(quire, neighbour):
    run = quire.run(guest("triple") + neighbour.conf())
    neighbour.check(run)
    assert run.status == 1, run
    assert "triple: now" in run.log_of("triple"), run
    stops = [event for event in run.events("vm")
             if event["vm"] == "triple" and event["state"] == "stopped"]
    assert len(stops) == 1, run
    assert stops[0]["reason"] == "triple fault", run


@on_every_machine
@pytest.mark.parametrize("name, last", [
    ("badio", "ok badio.msr_nowhere"),
    ("wild", "ok wild.across_the_end"),
    ("unknown", "ok unknown.rdpmc"),
])
def test_a_wild_guest_gets_what_a_machine_would_give(quire, neighbour, name, last):
    run = quire.run(guest(name) + neighbour.conf())
    neighbour.check(run)
    log = run.log_of(name)
    assert last in log, run
    assert [line for line in log if line.startswith("not ok")] == [], run
    assert run.status == 0, run


@on_every_machine
def test_a_guest_that_runs_where_nothing_is(quire, neighbour):
    run = quire.run(guest("lost") + neighbour.conf())
    neighbour.check(run)
    assert "lost: jumping" in run.log_of("lost"), run
    assert run.stop_of("lost") is not None, run


@on_both_vendors
def test_a_spinning_guest_starves_neither_the_other_nor_the_console(quire, neighbour):
    run = quire.run(guest("spin") + neighbour.conf(autostart="no"), steps=[
        ("expect", "spin: spinning"),
        ("send", r"list\n"),
        ("expect", "good"),
        ("send", r"start good\n"),
        ("expect", '"vm":"good","state":"stopped"'),
        ("send", r"stop spin\n"),
    ])
    neighbour.check(run)
    assert run.stop_of("spin") is not None, run


@on_both_vendors
def test_a_guest_that_fails_makes_the_status_one(quire):
    run = quire.run(guest("triple"))
    assert run.status == 1, run
    assert run.stop_of("triple")["reason"] == "triple fault", run


@on_both_vendors
def test_pause_resume_and_reset(quire):
    run = quire.run(guest("spin"), "--quire", "exit=prompt", steps=[
        ("expect", "spin: spinning"),
        ("send", r"pause spin\n"),
        ("expect", '"paused"'),
        ("send", r"resume spin\n"),
        ("expect", '"resumed"'),
        ("send", r"reset spin\n"),
        ("expect", "spin: spinning"),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"stop spin\n"),
        ("expect", '"stopped"'),
        ("send", r"start spin\n"),
        ("expect", "spin: spinning"),
        ("send", r"poweroff\n"),
    ])
    assert run.messages == "", run
