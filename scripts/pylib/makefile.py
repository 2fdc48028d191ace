# SPDX-License-Identifier: MIT
"""Asks the Makefile."""

import subprocess

import paths


def variable(name):
    """The words of a variable, after make has expanded it."""
    text = f"include Makefile\nprint-it:\n\t@echo $({name})\n"
    result = subprocess.run(["make", "-s", "-f", "-", "print-it"], input=text, cwd=paths.ROOT,
                            capture_output=True, text=True, check=True)
    return result.stdout.split()
