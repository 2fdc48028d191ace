# SPDX-License-Identifier: MIT
"""scripts/share-oracle judges listings that are small enough to count by hand. No boot."""

import json
import subprocess

from conftest import ROOT

ZERO = "93d76fe148c689ba"
A, B, C, D = (letter * 16 for letter in "abcd")


def oracle(text, *options):
    return subprocess.run([ROOT / "scripts/share-oracle", *options], input=text, text=True,
                          capture_output=True, check=False)


def judge(*lines):
    result = oracle("\r\n".join(["quire> hashes", *lines, "hashes end", "quire> "]), "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def figures(judged):
    return tuple(judged[key] for key in ("pages", "possible", "saved", "missed"))


def test_all_equal_pages_of_a_group_count_once():
    judged = judge(f"hashes one g 0 ={A} ={A} {B}", f"hashes two g 10 ={A} {B} {C}")
    assert figures(judged) == (6, 3, 2, 2)
    assert judged["percent"] == 66.67
    assert [figures(vm) for vm in judged["vms"]] == [(3, 1, 1, 1), (3, 2, 1, 1)]
    assert [vm["percent_of_pages"] for vm in judged["vms"]] == [33.33, 33.33]


def test_pages_of_zeros_can_be_saved_as_long_as_they_have_a_page():
    judged = judge(f"hashes one - 0 {ZERO} {A}", f"hashes two g 0 {ZERO} {ZERO} {B}")
    assert figures(judged) == (5, 3, 0, 3)
    assert judged["zero"] == 3 and judged["percent"] == 0


def test_groups_are_judged_apart_and_no_group_shares_nothing():
    judged = judge(f"hashes one g 0 {A} {B}", f"hashes two h 0 {A} {B}", f"hashes three - 0 {A} {A}")
    assert figures(judged) == (6, 0, 0, 0)
    assert judged["percent"] == 100


def test_one_reference_to_a_shared_page_saves_nothing():
    assert figures(judge(f"hashes one g 0 {A} {D}", f"hashes two g 0 ={A} ={B}")) == (4, 1, 0, 1)


def test_the_last_complete_listing_counts():
    judged = judge(f"hashes one g 0 {A} {A}", "hashes end", f"[two] hello\nquire> hashes one g 0 ={A} ={A}")
    assert figures(judged) == (2, 1, 1, 0)


def test_an_incomplete_listing_is_an_error():
    result = oracle(f"hashes one g 0 {A}\n")
    assert result.returncode == 1 and "not complete" in result.stderr


def test_people_get_a_row_for_each_vm():
    result = oracle(f"hashes one g 0 {A} ={B}\nhashes two g 0 {A} ={B}\nhashes end\n")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[2] == ["two", "g", "2", "0", "2", "1", "1", "50.00", "50.00"]
    assert rows[3] == ["all", "4", "0", "2", "1", "2", "50.00", "25.00"]
