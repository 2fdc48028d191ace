# SPDX-License-Identifier: MIT
"""The same guests on every vendor's virtualization: what they see must not differ."""

import pytest
from conftest import guest, linux, sum16

MACHINES = ("qemu-svm", "bochs-vmx", "bochs-svm")
BOTH_VENDORS = ("qemu-svm", "bochs-vmx")
# Bochs is an interpreter: it needs minutes where QEMU needs seconds.
BOCHS_LIMIT_S = 600


def boot(quire, machine, conf, *arguments, **keys):
    return quire.run(conf, "--machine", machine, *arguments, timeout=BOCHS_LIMIT_S, **keys)


def check_log(run, name, last):
    log = run.log_of(name)
    assert any(line.startswith(last) for line in log), run
    assert [line for line in log if line.startswith("not ok")] == [], run
    assert run.stop_of(name)["status"] == 0, run


@pytest.mark.parametrize("machine", MACHINES)
def test_touched_memory_is_zero_first_and_kept(quire, machine):
    run = boot(quire, machine, guest("touch"))
    check_log(run, "touch", "ok touch.second_pass")
    assert run.status == 0, run


@pytest.mark.parametrize("machine", MACHINES)
def test_instructions_that_no_guest_has(quire, machine):
    run = boot(quire, machine, guest("unknown"))
    check_log(run, "unknown", "ok unknown.rdpmc")
    assert run.status == 0, run


@pytest.mark.parametrize("machine", BOTH_VENDORS)
def test_garbage_to_ports_memory_and_registers(quire, machine):
    run = boot(quire, machine, guest("badio") + guest("wild"))
    check_log(run, "badio", "ok badio.msr_nowhere")
    check_log(run, "wild", "ok wild.across_the_end")
    assert run.status == 0, run


# Bochs's AMD-V stops by itself at a triple fault of a guest, before the exit.
@pytest.mark.parametrize("machine", BOTH_VENDORS)
def test_a_triple_fault_is_that_guests_alone(quire, machine):
    run = boot(quire, machine, guest("triple") + guest("touch"))
    check_log(run, "touch", "ok touch.second_pass")
    assert run.stop_of("triple")["reason"] == "triple fault", run
    assert run.status == 1, run


def test_debian_computes_its_sum_on_vt_x(quire):
    run = boot(quire, "bochs-vmx", linux("one", "sum16", memory="192M"))
    assert f"one: sum16 {sum16('one')}" in run.log_of("one"), run
    assert run.status == 0, run


def test_memory_costs_the_same_on_both_vendors(quire):
    """All figures of a guest that has run, but for the nested tables' own pages."""
    answers = []
    for machine in BOTH_VENDORS:
        run = boot(quire, machine, guest("readall"), "--quire", "exit=prompt", steps=[
            ("expect", "readall: pages"),
            ("send", r"memory --json\n"),
            ("expect", '"table_pages"'),
            ("send", r"poweroff\n"),
        ])
        vm, = run.objects()[-1]["vms"]
        answers.append({key: vm[key] for key in ("pages", "zero", "private", "rom", "reserved",
                                                 "record_bytes", "faults_read")})
    assert answers[0] == answers[1]


@pytest.mark.parametrize("model, reason", [
    ("core2_penryn_t9600", "EPT"),
    ("corei5_lynnfield_750", "unrestricted guest"),
])
def test_vt_x_that_is_too_old_is_refused(quire, model, reason):
    run = boot(quire, "bochs-vmx", guest("touch"), "--cpu", model)
    assert run.status == 2, run
    assert run.started() == [], run
    assert reason in run.output, run


def test_the_oldest_vt_x_that_will_do(quire):
    run = boot(quire, "bochs-vmx", guest("touch"), "--cpu", "corei5_arrandale_m520")
    check_log(run, "touch", "ok touch.second_pass")
    assert run.status == 0, run
