"""The README's transcript is replayed, in ``trio-cpvm repl`` and in trio's own REPL."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.rst"


def transcript() -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(README.read_text("utf-8"))


@pytest.mark.parametrize("module", [["trio_cpvm", "repl"], ["trio"]], ids=["trio-cpvm repl", "python -m trio"])
def test_the_transcript_is_true(module: list[str]) -> None:
    examples = transcript()
    assert len(examples) > 10
    marker = "---- next ----"
    lines = [f"{example.source.rstrip()}\nprint({marker!r})" for example in examples]
    done = subprocess.run(
        [sys.executable, "-m", *module],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = done.stdout.replace(">>> ", "").split(marker + "\n")
    wanted = [example.want for example in examples]
    assert wanted[0] == "", "what comes before the first answer is the REPL's own greeting"
    assert answers[1:-1] == wanted[1:], done.stderr
