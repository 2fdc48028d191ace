# SPDX-License-Identifier: MIT
"""The sharing scanner: it finds equal pages, data stays right whatever happens meanwhile, and a
guest learns nothing about other groups."""

import json
import re
import subprocess

import pytest
from conftest import ROOT, guest, linux, on_both_vendors, own_data_sum
from test_memory import check_sums

FASTEST = "[machine]\nscan-cpu = 100\n\n"


def share(name, **words):
    """Returns a [vm] section with guests/share.c. `words` are keys, or words of its command line."""
    settings = {key.replace("_", "-"): words.pop(key) for key in ("memory", "share", "reserve")
                if key in words}
    line = " ".join(f"{key}={value}" for key, value in words.items())
    return guest(name, "share", cmdline=line, **settings)


def all_asked(*steps):
    """Returns the steps, followed by every question and the end."""
    return [*steps,
            ("send", r"share --json\n"), ("expect", '"vms"'),
            ("send", r"memory --json\n"), ("expect", '"table_pages"'),
            ("send", r"hashes\n"), ("expect", "hashes end"),
            ("send", r"check\n"), ("expect", "ok"),
            ("send", r"poweroff\n")]


def printed(name, text):
    return ("expect", f"[{name}] share: {text}")


def run_counted(quire, machine, conf, steps, memory="512M", **keys):
    """Boots so that a tick is an instruction and halting takes no time; Bochs is always like that."""
    counted = ["--icount"] if machine.startswith("qemu") else []
    return quire.run(conf, *counted, "--memory", memory, "--quire", "exit=prompt", steps=steps, **keys)


class Answers:
    """The answers to all_asked()."""

    def __init__(self, run):
        assert run.status == 0, run
        objects = run.objects()
        self.share = [answer for answer in objects if "scanner" in answer][-1]
        self.memory = next(answer for answer in objects if "gmm" in answer)
        check_sums(self.memory)
        result = subprocess.run([ROOT / "scripts/share-oracle", "--json"], input=run.output,
                                text=True, capture_output=True, check=True)
        self.oracle = json.loads(result.stdout)

    def vm(self, name):
        return next(vm for vm in self.share["vms"] if vm["name"] == name)

    def saved_of_later(self):
        """Returns what percentage of its pages is saved, for each VM but the first."""
        return [vm["percent_of_pages"] for vm in self.oracle["vms"][1:]]


@on_both_vendors
def test_a_content_that_thousands_of_pages_have_is_one_page(quire, machine):
    conf = FASTEST + share("one", pages=4096, tail=1, values=1, rest=300_000_000, rounds=1, stay=1)
    run = run_counted(quire, machine, conf, all_asked(printed("one", "done")))
    answers = Answers(run)
    assert "ok share.data" in run.log_of("one"), run
    assert answers.vm("one")["shared"] >= 4090, run
    assert answers.share["pages_shared"] < 64, run
    assert answers.oracle["percent"] >= 98, run


def contents_shared(run):
    """Returns {group: hashes of its shared pages}."""
    found = {}
    for group, pages in re.findall(r"hashes \S+ (\S+) [0-9a-f]+((?: =?[0-9a-f]{16})+)", run.output):
        found.setdefault(group, set()).update(re.findall(r"=([0-9a-f]{16})", pages))
    return found


@on_both_vendors
def test_groups_share_nothing_with_each_other(quire, machine):
    words = {"pages": 1024, "values": 64, "rest": 200_000_000, "rounds": 1, "stay": 1}
    conf = FASTEST + share("a", share="red", **words) + share("b", share="blue", **words) + \
        share("c", share="red", **words) + share("d", share="none", **words) + \
        share("e", share="none", **words)
    run = run_counted(quire, machine, conf, all_asked(*[("expect", "share: done")] * 5))
    answers = Answers(run)
    contents = contents_shared(run)
    assert set(contents) - {"-"} == {"red", "blue"} and not contents.get("-"), run
    # If two groups used one page, there would be a page less.
    assert answers.share["pages_shared"] == len(contents["red"]) + len(contents["blue"]), run
    assert answers.vm("a")["shared"] > 900 and answers.vm("c")["shared"] > 900, run
    assert answers.vm("d")["shared"] == answers.vm("e")["shared"] == 0, run
    # Pages of zeros are given back whatever the group is.
    assert answers.oracle["zero"] == 0 and answers.oracle["percent"] >= 98, run
    for name in "abcde":
        assert "ok share.data" in run.log_of(name), run


def write_times(quire, spy_group, victim_salt):
    """Returns the LEAST, MEDIAN and MOST ticks that the spy's first writes took."""
    words = {"pages": 200, "values": 200, "order": 1, "rest": 400_000_000, "stay": 1}
    conf = FASTEST + share("victim", share="v", salt=victim_salt, **words) + \
        share("spy", share=spy_group, salt=7, time=1, **words)
    run = run_counted(quire, "qemu-svm", conf, [*[("expect", "share: done")] * 2, ("send", r"poweroff\n")])
    assert "ok share.data" in run.log_of("spy"), run
    line, = (line for line in run.log_of("spy") if line.startswith("share: write"))
    return [int(word) for word in line.split()[2:]]


def test_the_time_of_a_write_tells_nothing_about_other_groups(quire):
    same, other = (write_times(quire, "s", victim_salt) for victim_salt in (7, 8))
    assert same[:2] == other[:2], (same, other)
    # Inside one group the time does tell, so the measurement works.
    assert write_times(quire, "v", 7)[1] > same[1] + 500


@on_both_vendors
def test_data_is_right_at_any_rate_of_writes(quire, machine):
    scale = 1 if machine == "qemu-svm" else 10
    words = {"pages": 1024, "values": 32, "stay": 1}
    conf = FASTEST + \
        share("slow", rounds=200 // scale, writes=16, rest=20_000_000, **words) + \
        share("quick", rounds=2000 // scale, writes=64, rest=2_000_000, seed=2, **words) + \
        share("mad", rounds=2000 // scale, writes=512, rest=1_000_000, seed=3, **words)
    run = run_counted(quire, machine, conf, all_asked(*[("expect", "share: done")] * 3))
    answers = Answers(run)
    for name in ("slow", "quick", "mad"):
        assert "ok share.data" in run.log_of(name), run
    results = answers.share["results"]
    assert results["merged"] > 500, run
    # Shared pages were written to; "ok share.data" says that the other users kept the content.
    assert sum(vm["broken"] for vm in answers.share["vms"]) > 100, run
    assert not [event for event in run.events("vm") if event["state"] == "paused"], run


@pytest.mark.parametrize("word", [511, 100], ids=["in-the-sample", "outside-the-sample"])
def test_pages_that_differ_in_one_byte_are_told_apart(quire, word):
    words = {"pages": 2048, "values": 200, "tail": word, "stay": 1}
    conf = FASTEST + share("a", rounds=20, writes=64, rest=20_000_000, **words) + \
        share("b", rounds=20, writes=64, rest=20_000_000, seed=2, **words)
    steps = [*[("expect", "share: done")] * 2, *all_asked()]
    run = run_counted(quire, "qemu-svm", conf, steps)
    answers = Answers(run)
    for name in "ab":
        assert "ok share.data" in run.log_of(name), run
    results, scanner = answers.share["results"], answers.share["scanner"]
    print(results, scanner)
    # After one such comparison, such pages are hashed as a whole.
    assert results["rejected"]["different"] < 200, run
    assert (scanner["hashed_whole"] > 2048) == (word == 100), run
    assert answers.vm("a")["shared"] > 1024, run


@on_both_vendors
def test_the_smallest_working_set_finds_less_and_breaks_nothing(quire, machine):
    scale = 1 if machine == "qemu-svm" else 4
    words = {"pages": 4096, "values": 250, "rounds": 40 // scale, "rest": 20_000_000, "stay": 1}
    conf = "[machine]\nscan-cpu = 100\nscan-memory = 4K\n\n" + share("a", **words) + \
        share("b", seed=2, **words)
    run = run_counted(quire, machine, conf, all_asked(*[("expect", "share: done")] * 2))
    answers = Answers(run)
    for name in "ab":
        assert "ok share.data" in run.log_of(name), run
    working_set = answers.share["working_set"]
    print(working_set, answers.oracle["percent"])
    assert working_set["bytes"] == 4096 and working_set["evicted"] > 0, run
    assert answers.share["scanner"]["passes"] > 2, run


# docs/operating.md says what these words are for.
NOKASLR = "nokaslr"
DENSE = "nokaslr lockdown=confidentiality slub_max_order=0 ipv6.disable=1"


def debian(name, what, words=NOKASLR, **keys):
    """Returns a small Debian guest. With NOKASLR and DENSE its kernel is at the same place in all."""
    line = f"console=ttyS0 quiet {words} name={name} run={what}"
    return linux(name, what, **{"memory": "256M", "cmdline": line, **keys})


TICKS_A_SECOND = 1_000_000_000  # what --icount makes of the TSC


def share_of_cpu(run):
    """Returns the scanner's share of the CPU between first and last answer, by a guest's clock."""
    texts = run.output.split('{"scanner"')
    seconds = [int(re.findall(r"one: tick (\d+)", text)[-1]) for text in (texts[0], "".join(texts[:-1]))]
    used = [answer["scanner"]["ticks"] for answer in run.objects() if "scanner" in answer]
    return (used[-1] - used[0]) / (seconds[1] - seconds[0]) / TICKS_A_SECOND


# A guest that prints starts a process a second. In dense guests, what the process leaves is now
# and then worth a pass at double speed, so the scanner is not quite at rest.
@pytest.mark.parametrize("words, most_bytes, least_percent", [
    (NOKASLR, 16 << 20, 75), (DENSE, 6 << 20, 90)], ids=["nokaslr", "dense"])
def test_idle_guests_share_what_can_be_shared_and_then_the_scanner_rests(quire, words, most_bytes,
                                                                         least_percent):
    ask = [("send", r"share --json\n"), ("expect", '"vms"')]
    # The guest's seconds are waited for, because they pass at once while nothing happens.
    rest = [("expect", "one: tick ")] * 40
    conf = FASTEST + debian("one", "tick", words) + debian("two", "tick", words)
    run = run_counted(quire, "qemu-svm", conf, [("expect", "two: tick 20"), *ask, *rest, *all_asked()])
    answers = Answers(run)
    cost = answers.vm("two")["private"] * 4096
    print("of the possible", answers.oracle["percent"], "%; the second guest costs", cost, "bytes; saved",
          answers.saved_of_later(), "% of it; of the CPU at rest", round(100 * share_of_cpu(run), 2), "%")
    assert answers.oracle["percent"] >= 98, run
    assert cost < most_bytes, run
    assert answers.saved_of_later()[0] >= least_percent, run
    assert share_of_cpu(run) <= 0.02, run


@pytest.mark.long
def test_of_the_second_to_sixteenth_guest_nine_tenths_are_saved(quire):
    names = [f"g{i}" for i in range(16)]
    conf = FASTEST + "".join(debian(name, "tick", DENSE, reserve="16M") for name in names)
    run = run_counted(quire, "qemu-svm", conf, [
        *[("expect", ": tick 10")] * len(names), *all_asked()], memory="1G", time_limit_s=900)
    answers = Answers(run)
    print("of the possible", answers.oracle["percent"], "%; saved of later guests",
          answers.saved_of_later(), "%")
    assert answers.oracle["percent"] >= 98, run
    assert min(answers.saved_of_later()) >= 90, run


def guests_fit(quire, machine, names, memory, least_saved_bytes, words=NOKASLR, mib=4):
    """Boots guests of 256 MiB, far more than the machine has; each sums `mib` MiB of its data."""
    conf = FASTEST + "".join(debian(name, "keep", words, reserve="16M") for name in names)
    run = run_counted(quire, machine, conf, [*[("expect", ": sum 2 ")] * len(names), *all_asked()],
                      memory=memory, time_limit_s=900)
    answers = Answers(run)
    for name in names:
        for number in (1, 2):
            assert f"{name}: sum {number} {own_data_sum(name, mib << 20)}" in run.log_of(name), run
    # Some may wait for memory while they boot; none does once all have theirs.
    with_theirs = run.output[run.output.rindex(": sum 1 "):]
    assert '"state":"paused"' not in with_theirs, run
    print("of the possible", answers.oracle["percent"], "%; pages saved", answers.share["pages_saved"],
          "private", [vm["private"] for vm in answers.share["vms"]], "saved of later guests",
          answers.saved_of_later(), "%")
    assert answers.oracle["percent"] >= 98, run
    assert answers.share["pages_saved"] * 4096 > least_saved_bytes, run
    assert min(answers.saved_of_later()) >= 75, run


@pytest.mark.long
@pytest.mark.parametrize("memory", ["512M", "256M"])
def test_eight_guests_of_256_mib_on_less(quire, machine, memory):
    guests_fit(quire, machine, [f"g{i}" for i in range(8)], memory, 300 << 20)


@pytest.mark.long
@pytest.mark.parametrize("machine", ["bochs-vmx"])
def test_three_guests_of_256_mib_on_256_mib(quire, machine):
    # Bochs is an interpreter, so there is less to sum.
    guests_fit(quire, machine, ["g0", "g1", "g2"], "256M", 64 << 20, f"{NOKASLR} keep=1", 1)
