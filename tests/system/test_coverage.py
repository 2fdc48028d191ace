# SPDX-License-Identifier: MIT
"""scripts/coverage: what it counts, and when it fails."""

import importlib.machinery
import importlib.util

import pytest
from conftest import ROOT

LEAST = {"a": (90, 50), "a/b": (50, 0)}

CODE = """\
int f(int x)
{
	Q_ASSERT(x > 0);
	if (x > 2)
		return 1;
	Q_ASSERT(!"never");
	return 0;
}
"""


@pytest.fixture
def coverage(monkeypatch):
    loader = importlib.machinery.SourceFileLoader("coverage_script", str(ROOT / "scripts/coverage"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "LEAST", LEAST)
    return module


def described(number, count, *branches):
    """Returns a line as gcov describes it."""
    return {"line_number": number, "count": count, "function_name": "f",
            "branches": [{"count": taken} for taken in branches]}


def file(coverage, folder, lines):
    path = folder / "code.c"
    path.write_text(CODE)
    result = coverage.File(path)
    for line in lines:
        result.add(line)
    return result


def test_assertions_have_no_branches_and_what_is_unreachable_no_lines(coverage, tmp_path):
    code = file(coverage, tmp_path, [described(3, 4, 4, 0), described(4, 4, 0, 4), described(5, 0),
                                     described(6, 0, 0), described(7, 4)])
    assert code.lines == {3: 4, 4: 4, 5: 0, 7: 4}
    assert list(code.branches.values()) == [0, 4]
    assert list(code.missing()) == ["5: not reached", "4: branch 0 of f() not taken"]


def test_a_header_is_reached_if_one_of_its_users_reaches_it(coverage, tmp_path):
    code = file(coverage, tmp_path, [described(4, 0, 0, 0), described(4, 2, 2, 0)])
    assert code.lines == {4: 2}
    assert list(code.branches.values()) == [2, 0]


def test_a_file_counts_for_the_nearest_folder(coverage):
    names = ("a/x.c", "a/c/x.c", "a/b/x.h", "a/x_check.c", "ab/x.c")
    assert [coverage.folder_of(name) for name in names] == ["a", "a", "a/b", None, None]


def judged(coverage, folder, a_lines, b_lines):
    """Returns whether scripts/coverage passes a file in each of the two folders."""
    return coverage.judge({"a/x.c": file(coverage, folder, a_lines), "a/b/x.c": file(coverage, folder, b_lines)})


def test_each_folder_must_reach_what_its_row_says(coverage, tmp_path, capsys):
    full, half = [described(4, 1, 1, 1), described(5, 1)], [described(4, 1, 1, 1), described(5, 0)]
    few_branches = [described(4, 1, 1, 0, 0), described(5, 1)]
    assert judged(coverage, tmp_path, full, half)
    assert "a/b: 50.0 % of lines" in capsys.readouterr().out
    assert not judged(coverage, tmp_path, half, full)
    assert not judged(coverage, tmp_path, few_branches, full)
    assert "a: 100.0 % of lines (at least 90), 33.3 % of branches (at least 50): TOO LOW" in capsys.readouterr().out


def test_a_row_without_code_is_refused(coverage, tmp_path):
    with pytest.raises(coverage.Failure, match="a/b has no code"):
        coverage.judge({"a/x.c": file(coverage, tmp_path, [described(4, 1)])})
