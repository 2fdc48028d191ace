# SPDX-License-Identifier: MIT
"""The main job: two guests with Debian's stock kernel work side by side and power off. Each is
promised as much memory as the whole machine has."""

import pytest
from conftest import guest, linux, linux_on_both_vendors, on_every_machine, sum16

TWO_SUMS = linux("one", "sum16") + linux("two", "sum16")


def check_two_sums(run):
    assert run.status == 0, run
    for name in ("one", "two"):
        assert f"{name}: sum16 {sum16(name)}" in run.log_of(name), run
        assert run.stop_of(name)["status"] == 0, run


@pytest.mark.parametrize("machine, way", [
    ("qemu-svm", "none"), ("qemu-svm", "bios"), ("qemu-svm", "uefi"),
    pytest.param("bochs-vmx", "bios", marks=pytest.mark.long),
    pytest.param("bochs-svm", "bios", marks=pytest.mark.long),
])
def test_two_guests_compute_their_sums_and_power_off(quire, way):
    check_two_sums(quire.run(TWO_SUMS, "--iso", way, "--memory", "512M"))


@linux_on_both_vendors
def test_a_shell_answers_and_the_console_moves_between_guests(quire):
    run = quire.run(None, "--memory", "512M", steps=[
        ("expect", "one: ready"),
        ("send", r"uname -a\n"),
        ("expect", "Debian"),
        ("send", r"free\n"),
        ("expect", "Mem:"),
        ("send", r"cat /proc/interrupts\n"),
        ("expect", "ttyS0"),
        ("send", r"\x1d"),
        ("send", r"list\n"),
        ("expect", "two"),
        ("send", r"attach two\n"),
        ("send", r"hostname\n"),
        ("expect", "two"),
        ("send", r"poweroff -f\n"),
        ("send", r"attach one\n"),
        ("send", r"exit\n"),
    ])
    assert run.status == 0, run
    assert run.stop_of("one")["status"] == 0, run
    assert run.stop_of("two")["status"] == 0, run


@linux_on_both_vendors
def test_reboot_and_poweroff_typed_at_the_shell(quire):
    conf = linux("one", "shell", **{"serial": "console", "on-reset": "restart"})
    run = quire.run(conf, steps=[
        ("send", r"reboot\n"),
        ("expect", "one: ready"),
        ("expect", "built-in shell"),
        ("send", r"poweroff\n"),
    ])
    assert run.status == 0, run
    assert [event["state"] for event in run.events("vm")] == ["started", "started", "stopped"], run
    assert run.stop_of("one")["reason"] == "power-off", run
    assert "job control turned off" not in run.output, run


# Linux takes minutes on Bochs, so a small guest boots there. Bochs always counts instructions.
@on_every_machine
def test_boots_are_bit_identical(quire, machine):
    if machine == "qemu-svm":
        boot = (linux("one", "tsc"), "--icount")
    else:
        boot = (guest("bench", memory="512M"),)
    first = quire.run(*boot)
    second = quire.run(*boot)
    assert first.status == 0, first
    assert first.output == second.output
