# SPDX-License-Identifier: MIT
"""A VM answers requests whatever it is doing. `ping` is a request that changes nothing."""

import re

from conftest import guest, linux, linux_on_both_vendors, on_both_vendors, on_every_machine


def answers(run):
    """Returns what each `ping` said, in order: (VM, status, state)."""
    return re.findall(r"^(\S+): (.+) after \d+ us \((.*)\)$", run.output, re.M)


def ask(name):
    return [("send", rf"ping {name}\n"), ("expect", f"{name}: ok after")]


@on_both_vendors
def test_a_vm_answers_in_every_state(quire):
    conf = guest("spin", vcpus="2") + guest("off", "spin", autostart="no")
    run = quire.run(conf, "--quire", "exit=prompt", steps=[
        ("expect", "spin: spinning"),
        *ask("off"),
        *ask("spin"),
        ("send", r"pause spin\n"), ("expect", '"paused"'),
        *ask("spin"),
        ("send", r"resume spin\n"), ("expect", '"resumed"'),
        *ask("spin"),
        ("send", r"stop spin\n"), ("expect", '"stopped"'),
        *ask("spin"),
        ("send", r"start spin\n"), ("expect", "spin: spinning"),
        ("send", r"destroy off\n"),
        ("send", r"ping off\n"), ("expect", "no VM 'off'"),
        ("send", r"check\n"), ("expect", "ok"),
        ("send", r"poweroff\n"),
    ])
    assert answers(run) == [("off", "ok", "created"), ("spin", "ok", "running"), ("spin", "ok", "paused"),
                            ("spin", "ok", "running"), ("spin", "ok", "stopped")], run


@on_every_machine
def test_a_vm_that_waits_for_memory_answers(quire):
    run = quire.run(guest("touch", memory="512M", reserve="1M"), "--memory", "256M",
                    "--quire", "exit=prompt", steps=[
        ("expect", "out of memory"),
        *ask("touch"),
        ("send", r"poweroff\n"),
    ])
    assert answers(run) == [("touch", "ok", "paused (out of memory)")], run


@linux_on_both_vendors
def test_a_guest_that_sleeps_answers(quire):
    run = quire.run(linux("one", "idle", vcpus="2"), "--quire", "exit=prompt", steps=[
        ("expect", "one: idle"),
        *ask("one"),
        *ask("one"),
        ("send", r"poweroff\n"),
    ])
    assert answers(run) == [("one", "ok", "running")] * 2, run
