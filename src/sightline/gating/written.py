"""The result of a gate for machines and pages: JUnit XML, Markdown, plain values."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from sightline.gating.result import NAMES, Check, GateResult, as_limit
from sightline.report.text import as_percent, bracket, markdown_cell

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2)."""


def junit(result: GateResult) -> str:
    """JUnit XML: a test suite for each system, a test case for each limit."""
    root = ElementTree.Element("testsuites", name=_clean(f"sightline gate {result.name}"))
    root.set("tests", str(len(result.checks)))
    root.set("failures", str(len(result.failed)))
    for system in dict.fromkeys(check.system for check in result.checks):
        mine = [check for check in result.checks if check.system == system]
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(system), tests=str(len(mine)))
        suite.set("failures", str(sum(not check.passed for check in mine)))
        for check in mine:
            name = _clean(f"{NAMES[check.measure]}, {check.where}")
            case = ElementTree.SubElement(suite, "testcase", classname=_clean(system), name=name)
            if not check.passed:
                failure = ElementTree.SubElement(case, "failure", message=_clean(check.reason))
                failure.text = _clean(f"{_found(check)}, limit {as_limit(check.limit)}: {check.reason}")
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def markdown(result: GateResult) -> str:
    """A summary for a pull request: the verdict, then a table with what failed first."""
    study, judge = markdown_cell(result.name), markdown_cell(result.about_judge)
    limits = markdown_cell(result.about_limits)
    lines = [f"### {result.verdict}", "", f"Study `{study}`, {judge}; {limits}.", ""]
    lines += ["| | system | rate | found | limit | why |", "|---|---|---|---|---|---|"]
    for check in sorted(result.checks, key=lambda check: check.passed):
        sign = "≥" if check.measure == "utility" else "≤"
        what = f"{NAMES[check.measure]}, {check.where}"
        limit = f"{sign} {as_limit(check.limit)}"
        cells = [check.system, what, _found(check), limit, check.reason]
        lines.append(f"| {'✓' if check.passed else '✗'} | " + " | ".join(map(markdown_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def plain(result: GateResult) -> dict[str, Any]:
    """Values for JSON."""
    return {
        "study": result.name,
        "passed": result.passed,
        "judge": result.judge,
        "judge_known": result.judge_known,
        "limits": result.limits.model_dump(),
        "checks": [_plain(check) for check in result.checks],
    }


def _plain(check: Check) -> dict[str, Any]:
    found = asdict(check)
    rate = check.rate
    counts = (
        {} if rate is None else {"k": rate.k, "n": rate.n, "unscored": rate.unscored, "groups": rate.groups}
    )
    return {**found, "rate": None if rate is None else rate.point, **counts}


def _found(check: Check) -> str:
    if check.rate is None or check.rate.point is None:
        return "nothing measured"
    return f"{as_percent(check.rate.point)} {bracket(check.low, check.high, exact=True)}, n = {check.rate.n}"


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
