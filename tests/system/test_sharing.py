# SPDX-License-Identifier: MIT
"""The sharing scanner: what it finds, that data stays right whatever happens
meanwhile, and what it lets nobody learn."""

import json
import subprocess

from conftest import ROOT, guest, on_both_vendors
from test_memory import check_sums

FASTEST = "[machine]\nscan-cpu = 100\n\n"


def share(name, **words):
    """A VM with guests/share.c; words of its command line."""
    settings = {key.replace("_", "-"): words.pop(key) for key in ("memory", "share", "reserve")
                if key in words}
    line = " ".join(f"{key}={value}" for key, value in words.items())
    return guest(name, "share", cmdline=line, **settings)


def all_asked(*steps):
    """Steps, then every question, then the end."""
    return [*steps,
            ("send", r"share --json\n"), ("expect", '"vms"'),
            ("send", r"memory --json\n"), ("expect", '"table_pages"'),
            ("send", r"hashes\n"), ("expect", "hashes end"),
            ("send", r"check\n"), ("expect", "ok"),
            ("send", r"poweroff\n")]


def printed(name, text):
    return ("expect", f"[{name}] share: {text}")


def run_counted(quire, machine, conf, steps, *arguments):
    """In QEMU a tick is an instruction and halting takes no time; Bochs is always like that."""
    counted = ["--icount"] if machine.startswith("qemu") else []
    return quire.run(conf, *counted, *arguments, "--quire", "exit=prompt", steps=steps)


class Answers:
    """What all_asked() was answered."""

    def __init__(self, run):
        assert run.status == 0, run
        objects = run.objects()
        self.share = next(answer for answer in objects if "scanner" in answer)
        self.memory = next(answer for answer in objects if "gmm" in answer)
        check_sums(self.memory)
        result = subprocess.run([ROOT / "scripts/share-oracle", "--json"], input=run.output,
                                text=True, capture_output=True, check=True)
        self.oracle = json.loads(result.stdout)

    def vm(self, name):
        return next(vm for vm in self.share["vms"] if vm["name"] == name)


@on_both_vendors
def test_a_content_that_thousands_of_pages_have_is_one_page(quire, machine):
    conf = FASTEST + share("one", pages=4096, tail=1, values=1, rest=300_000_000, rounds=1, stay=1)
    run = run_counted(quire, machine, conf, all_asked(printed("one", "done")))
    answers = Answers(run)
    assert "ok share.data" in run.log_of("one"), run
    assert answers.vm("one")["shared"] >= 4090, run
    assert answers.share["pages_shared"] < 64, run
    assert answers.oracle["percent"] >= 98, run
