"""Errors as a person at the screen reads them."""

from __future__ import annotations

import re

from workbench.study import StudyError

MOST = 3
"""So many problems of a study are told; a person mends one after the other."""
_PROBLEM = re.compile(r"([\w.\[\]]+): (.*)", re.DOTALL)


def said(error: Exception | None) -> str:
    """The message of an error; that of a study without its form as a list, and on one line."""
    if not isinstance(error, StudyError):
        return str(error)
    told = [plain(problem) for problem in error.problems]
    more = [f"and {len(told) - MOST} more"] if len(told) > MOST else []
    return ". ".join([*told[:MOST], *more])


def plain(problem: str) -> str:
    """A problem of a study in the words of the screen.

    >>> plain("scales[0]: 99 is too large; allowed: a list of numbers from 0 to 10")
    'scales: 99 is too large; allowed is a list of numbers from 0 to 10'
    >>> plain("controls[0].settings.high: must not lie below low (300)")
    'high: must not lie below low (300)'
    """
    if (found := _PROBLEM.fullmatch(problem)) is None:
        return problem
    path, text = re.sub(r"\[\d+\]", "", found[1]), found[2]
    name = path.rpartition("settings.")[2].replace(".", " ").replace("_", " ")
    return f"{name}: {text.replace('; allowed: ', '; allowed is ')}"
