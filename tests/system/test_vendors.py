# SPDX-License-Identifier: MIT
"""What one vendor's virtualization has and the other's has not. The other files test what both
have, on both."""

import re

import pytest
from conftest import guest


@pytest.mark.parametrize("machine, model", [
    # Neither VPIDs nor a preemption timer; no next-RIP.
    ("bochs-vmx", "corei5_arrandale_m520"),
    ("bochs-svm", "phenom_8650_toliman"),
])
def test_the_oldest_cpu_that_will_do(quire, model):
    run = quire.run(guest("touch") + guest("unknown"), "--cpu", model)
    assert "ok touch.second_pass" in run.log_of("touch"), run
    assert "ok unknown.rdpmc" in run.log_of("unknown"), run
    assert run.status == 0, run


def vmcs_accesses(run):
    """Returns {kind of exit: (count, VMREADs, VMWRITEs)}: Quire prints it when it destroys a VM."""
    line = re.compile(r"vmx: exits (\S+) +count=(\d+) vmreads=(\d+) vmwrites=(\d+)")
    return {kind: tuple(map(int, numbers)) for kind, *numbers in line.findall(run.output)}


@pytest.mark.parametrize("machine", ["bochs-vmx"])
def test_a_cpuid_exit_takes_six_vmreads_and_two_vmwrites_at_most(quire):
    run = quire.run(guest("bench", memory="512M"), "--quire", "log=info exit=prompt", steps=[
        ("expect", '"state":"stopped"'),
        ("send", r"destroy bench\n"),
        ("expect", "vmx: exits cpuid"),
        ("send", r"poweroff\n"),
    ])
    count, reads, writes = vmcs_accesses(run)["cpuid"]
    assert count >= 200, run
    assert reads <= 6 * count, run
    assert writes <= 2 * count, run
