# SPDX-License-Identifier: MIT
"""Splits a source file into its code and its comments.

Both have the line breaks and columns of the file: what belongs to the other one is
blank. Python's docstrings are comments. All of a Markdown file is comment.
"""

import io
import re
import tokenize

C_LIKE = (".c", ".h", ".S", ".pml", ".ld")

_C = re.compile(r"""(?P<comment>/\*.*?\*/|//[^\n]*)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
_HASH = re.compile(r"(?:^|(?<=\s))#(?!!).*", re.M)


def _c_spans(text):
    return [match.span() for match in _C.finditer(text) if match["comment"]]


def _hash_spans(text):
    return [match.span() for match in _HASH.finditer(text)]


def _python_spans(text):
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    spans = []
    # A string that is a statement of its own is a docstring.
    is_statement = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and is_statement):
            first, last = token.start, token.end
            # Its quotes are no part of it: they would look like those of a title.
            quotes = 3 if token.string.startswith('"""') else 0
            spans.append((starts[first[0] - 1] + first[1] + quotes,
                          starts[last[0] - 1] + last[1] - quotes))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            is_statement = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return spans


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def split(name, text):
    """Returns (code, comments)."""
    if name.endswith(".md"):
        return _blank(text), text
    if name.endswith(C_LIKE):
        spans = _c_spans(text)
    elif name.endswith(".py") or text.startswith("#!/usr/bin/python3"):
        spans = _python_spans(text)
    else:
        spans = _hash_spans(text)
    code, comments, at = [], [], 0
    for start, end in spans:
        code += [text[at:start], _blank(text[start:end])]
        comments += [_blank(text[at:start]), text[start:end]]
        at = end
    return "".join([*code, text[at:]]), "".join([*comments, _blank(text[at:])])
