# SPDX-License-Identifier: MIT
"""Interrupts come to a guest when they would on a machine."""

from conftest import guest, on_every_machine


@on_every_machine
def test_a_guest_that_halts_before_an_interrupt_does_not_oversleep(quire):
    run = quire.run(guest("halt"))
    assert "halt: awake after rounds 12000" in run.log_of("halt"), run
    assert run.status == 0, run
