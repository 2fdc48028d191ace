# SPDX-License-Identifier: MIT
"""What scripts/run --batch leaves in a log file."""

from conftest import guest, on_both_vendors


@on_both_vendors
def test_a_prompt_that_a_log_line_erased_leaves_nothing(quire):
    run = quire.run(guest("touch", autostart="no"), "--quire", "exit=prompt", steps=[
        ("send", r"start touch\n"),
        ("expect", '"state":"stopped"'),
        ("send", r"poweroff\n"),
    ])
    assert run.status == 0, run
    assert "\x1b[K" not in run.output, run
    lines = run.output.splitlines()
    assert "quire> start touch" in lines and "quire> poweroff" in lines, run
    assert "ok touch.second_pass" in run.log_of("touch"), run
    assert not [line for line in lines if line.strip() == "quire>"], run
