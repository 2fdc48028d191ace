# SPDX-License-Identifier: MIT
"""Where the memory is: the sums hold, and only writing costs pages."""

import pytest
from conftest import Quire, guest, linux, linux_on_both_vendors, on_both_vendors, on_every_machine

MIB = 1 << 20
PAGE = 4096


def check_sums(memory):
    """Asserts what must hold in each answer of `memory --json`."""
    machine, gmm, vms = memory["machine"], memory["gmm"], memory["vms"]
    assert machine["chunks_free"] <= machine["chunks"]
    assert machine["quire_bytes"] <= machine["bytes"]
    for vm in vms:
        states = ("zero", "private", "shared", "ballooned")
        assert sum(vm[state] for state in states) == vm["pages"], vm
        assert vm["monitored"] <= vm["private"], vm
    # The one page more of each VM is its zero page.
    assert gmm["pages_private"] == sum(vm["private"] + vm["handy"] + vm["rom"] + 1 for vm in vms)
    # Nested tables and records are reserved as well.
    assert gmm["reserved_pages"] > sum(vm["reserved"] for vm in vms)
    # A reference that a write broke is GMM's until the VM's next refill.
    assert 0 <= gmm["shared_references"] - sum(vm["shared"] for vm in vms) <= 128 * len(vms)
    # A shared page that no VM uses any more is there until the scanner's next pass.
    unused = gmm["pages_saved"] - (gmm["shared_references"] - gmm["pages_shared"])
    assert 0 <= unused <= gmm["pages_shared"], unused


def vm_of(memory, name):
    return next(vm for vm in memory["vms"] if vm["name"] == name)


def memory_answers(run):
    return [answer for answer in run.objects() if "gmm" in answer]


@linux_on_both_vendors
def test_sums_hold_and_an_idle_guest_costs_what_it_has_written(quire):
    run = quire.run(linux("one", "idle") + linux("two", "idle"), "--memory", "512M",
                    "--quire", "exit=prompt", steps=[
        ("expect", "one: idle"),
        ("send", r"memory --json\n"),
        ("expect", '"table_pages"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"poweroff\n"),
    ])
    memory, = memory_answers(run)
    check_sums(memory)
    for name in ("one", "two"):
        vm = vm_of(memory, name)
        assert vm["pages"] * PAGE >= 511 * MIB, run
        # The kernel, its file system in memory, its tables: well below a quarter of the promise.
        assert vm["private"] * PAGE < 128 * MIB, vm
        assert vm["zero"] > vm["pages"] // 2, vm


@on_both_vendors
def test_reading_all_memory_costs_no_page(quire):
    run = quire.run(guest("readall", memory="256M") + guest("spin", memory="256M"),
                    "--memory", "512M", "--quire", "exit=prompt", steps=[
        ("expect", "readall: pages"),
        ("send", r"memory --json\n"),
        ("expect", '"table_pages"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"poweroff\n"),
    ])
    memory, = memory_answers(run)
    check_sums(memory)
    # The image with its stack and tables is a dozen pages, what the loader adds some more.
    assert vm_of(memory, "readall")["private"] < 64, run
    # The guest that read nothing wrote as much.
    assert abs(vm_of(memory, "readall")["private"] - vm_of(memory, "spin")["private"]) <= 4, run


@pytest.mark.parametrize("elide", ("on", "off"))
@on_every_machine
def test_memory_is_cleared_as_the_cpu_clears_it(quire, machine, elide):
    # Bochs's AMD-V never gets past a single step.
    words = "traps=no" if machine == "bochs-svm" else None
    run = quire.run(guest("clear", memory="128M", cmdline=words), "--quire", f"elide={elide}")
    log = run.log_of("clear")
    assert any(line.startswith("clear: failures 0") for line in log), run
    assert [line for line in log if line.startswith("not ok")] == [], run
    assert run.status == 0, run


def memory_after(quire, conf, last_line, words):
    """Returns the first VM's figures, with its exits for memory, after it has printed its last line."""
    run = quire.run(conf, "--memory", "512M", "--icount", "--quire", f"exit=prompt {words}", steps=[
        ("expect", last_line),
        ("send", r"memory --json\n"),
        ("expect", '"table_pages"'),
        ("send", r"exits --json\n"),
        ("expect", '"fatal"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"poweroff\n"),
    ])
    memory, = memory_answers(run)
    check_sums(memory)
    exits = next(answer for answer in run.objects() if "exits" in answer.get("vms", [{}])[0])
    return {**memory["vms"][0], "memory_exits": exits["vms"][0]["exits"]["memory"]["count"]}


def test_clearing_untouched_memory_costs_no_page(quire):
    conf = guest("clear", memory="128M", cmdline="stay=yes")
    vm = memory_after(quire, conf, "clear: failures 0", "ahead=off")
    # The last 16 MiB were only cleared. The private pages are those that the tests before wrote.
    assert vm["elided"] > 4096, vm
    assert vm["private"] < 640, vm


def linux_at_one_place(what):
    """Returns a [vm] section like linux(). Where the kernel puts itself costs up to 2,000 pages, and
    without `nokaslr` it is chosen by the clock."""
    return linux("one", what, cmdline=f"console=ttyS0 quiet nokaslr name=one run={what}")


@pytest.mark.parametrize("what, saved", [("idle", 1200), ("buffer64", 14000)])
def test_debian_costs_less_where_clearing_is_elided(quire, what, saved):
    conf = linux_at_one_place(what)
    with_it = memory_after(quire, conf, f"one: {what}", "elide=on")
    without = memory_after(quire, conf, f"one: {what}", "elide=off")
    assert without["elided"] == 0, without
    assert with_it["private"] + saved < without["private"], (with_it, without)


def test_working_ahead_saves_exits_and_costs_no_page(quire):
    conf = linux_at_one_place("idle")
    with_it = memory_after(quire, conf, "one: idle", "elide=off ahead=on")
    without = memory_after(quire, conf, "one: idle", "elide=off ahead=off")
    assert without["ahead_given"] == 0, without
    assert with_it["ahead_taken"] > 0 and with_it["ahead"] <= 64, with_it
    assert with_it["memory_exits"] * 5 < without["memory_exits"], (with_it, without)
    # The margin: 64 pages ahead, and 64 for a boot with another order of interrupts.
    assert with_it["private"] <= without["private"] + 64 + 64, (with_it, without)


@on_every_machine
def test_untouched_memory_is_zero_and_written_memory_stays(quire):
    run = quire.run(guest("touch", memory="128M"), "--memory", "512M")
    assert run.status == 0, run
    assert "ok touch.first_pass" in run.log_of("touch"), run
    assert "ok touch.second_pass" in run.log_of("touch"), run


@on_every_machine
def test_accessed_bits_of_page_tables_cost_what_they_must(quire):
    """A table that the guest wrote has its page. A table of zeros gets one at its first walk."""
    ask = [("send", r"\x1d"), ("send", r"memory --json\n"), ("send", r"attach pagetables\n"),
           ("send", "x")]
    steps = [step for name in ("built", "walked", "faulted", "again")
             for step in [("expect", f"{name}# "), *ask]]
    # Exact counts: neither pages given ahead nor the merging of eight equal tables may blur them.
    conf = "[machine]\nscan = off\n" + guest("pagetables", serial="console")
    run = quire.run(conf, "--quire", "ahead=off", steps=steps)
    assert run.status == 0, run
    assert "not ok" not in run.output, run
    built, walked, faulted, again = (vm_of(memory, "pagetables")["private"]
                                     for memory in memory_answers(run))
    # CPUs walk nested tables as if to write, so the eight tables of zeros get their pages.
    assert (walked, faulted, again) == (built, built + 8, built + 8), run


def test_a_guest_that_owns_its_memory_gets_it_in_large_pieces(quire):
    """It takes one fault and one nested entry for 2 MiB. The other guest pays page by page."""
    conf = (linux("owner", "idle", memory="192M", overcommit="none") +
            linux("sharer", "idle", memory="192M"))
    run = quire.run(conf, "--memory", "768M", "--quire", "exit=prompt", steps=[
        ("expect", "sharer: idle"),
        ("send", r"memory --json\n"),
        ("expect", '"table_pages"'),
        ("send", r"check\n"),
        ("expect", "ok"),
        ("send", r"poweroff\n"),
    ])
    memory, = memory_answers(run)
    check_sums(memory)
    owner, sharer = vm_of(memory, "owner"), vm_of(memory, "sharer")
    assert owner["large"] * 512 > owner["private"] * 3 // 4, run
    assert owner["faults_write"] < sharer["faults_write"] // 20, run
    assert owner["table_pages"] < sharer["table_pages"] // 4, run
    assert sharer["large"] == 0, run


@on_both_vendors
def test_four_promises_of_half_the_machine_each(quire):
    names = ("a", "b", "c", "d")
    conf = "".join(guest(name, "readall", memory="256M") for name in names)
    steps = [("expect", '"vm":"d","state":"started"'), ("send", r"memory --json\n"),
             ("expect", '"table_pages"'), ("send", r"poweroff\n")]
    run = quire.run(conf, "--memory", "512M", "--quire", "exit=prompt", steps=steps)
    assert sorted(run.started()) == sorted(names), run
    check_sums(memory_answers(run)[0])


def figures_after_boot(quire):
    run = quire.run(guest("readall"), "--quire", "exit=prompt", steps=[
        ("expect", "readall: pages"),
        ("send", r"memory --json\n"),
        ("expect", '"table_pages"'),
        ("send", r"poweroff\n"),
    ])
    memory, = memory_answers(run)
    check_sums(memory)
    vm, = memory["vms"]
    return {"machine": memory["machine"], "gmm": memory["gmm"], "vm": vm}


# These depend on the vendor: they hold nested tables and the control structures of a vCPU.
OF_THE_VENDOR = {"machine": {"quire_bytes"}, "gmm": {"pages_free", "pages_kernel"},
                 "vm": {"table_pages"}}


def without(figures, names):
    return {name: value for name, value in figures.items() if name not in names}


@pytest.mark.parametrize("machine", ["bochs-vmx"])
def test_memory_costs_the_same_on_both_vendors(quire, tmp_path):
    vt_x, amd_v = figures_after_boot(quire), figures_after_boot(Quire(tmp_path, "qemu-svm"))
    assert vt_x.keys() == amd_v.keys() == OF_THE_VENDOR.keys()
    for part, names in OF_THE_VENDOR.items():
        assert without(vt_x[part], names) == without(amd_v[part], names)
    # A kernel page more is a free page less.
    gmm = [memory["gmm"] for memory in (vt_x, amd_v)]
    assert (gmm[0]["pages_free"] + gmm[0]["pages_kernel"] ==
            gmm[1]["pages_free"] + gmm[1]["pages_kernel"])
    assert abs(gmm[0]["pages_kernel"] - gmm[1]["pages_kernel"]) <= 8
