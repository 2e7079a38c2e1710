"""What axe-core finds wrong with a page for people who cannot see, point or tell colours apart.

Its source is evaluated through the DevTools protocol: the page's content security policy lets no foreign script in.
"""

from __future__ import annotations

from functools import cache

import attrs
import pytest

import hatch_build

from .browsers import AnyTab

_AXE = hatch_build.STATIC / "node_modules" / "axe-core" / "axe.min.js"

#: Violations of less weight are not looked at.
_IMPACTS = ("serious", "critical")


@attrs.frozen
class Violation:
    """One element that breaks one rule.

    Attributes:
        rule: axe-core's id of it.
        selector: the element.
        message: what is wrong, in words.
    """

    rule: str
    impact: str
    selector: str
    message: str


@cache
def _source() -> str:
    if not _AXE.is_file():
        pytest.fail("axe-core is missing: python hatch_build.py --for-tests", pytrace=False)
    return _AXE.read_text("utf-8")


def violations(tab: AnyTab) -> list[Violation]:
    """What is seriously or critically wrong on the page as it is now."""
    if tab.evaluate("typeof globalThis.axe") == "undefined":
        tab.evaluate(f"void (0, function () {{ {_source()} }}).call(globalThis)")
    found = tab.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations)")
    assert isinstance(found, list)
    return [
        Violation(rule["id"], rule["impact"], " ".join(map(str, node["target"])), node["failureSummary"])
        for rule in found
        if rule["impact"] in _IMPACTS
        for node in rule["nodes"]
    ]
