"""Fuzz one target with atheris: ``python -m fuzz.run TARGET [libFuzzer's options and folders]``.

The seeds in ``corpus/TARGET`` are read; what is found goes into the first folder named, or nowhere.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, cast

from fuzz.targets import CORPUS, TARGETS


class Atheris(Protocol):
    """As much of the module as is needed; it is installed by the extra ``fuzz`` only."""

    def instrument_imports(self, include: Sequence[str]) -> AbstractContextManager[None]: ...

    def Setup(self, argv: list[str], check: Callable[[bytes], None]) -> list[str]: ...  # noqa: N802 -- theirs

    def Fuzz(self) -> None: ...  # noqa: N802 -- theirs


def main(argv: list[str]) -> None:
    if len(argv) < 2 or argv[1] not in TARGETS:
        sys.exit("usage: python -m fuzz.run " + "|".join(TARGETS) + " [libFuzzer options] [folders]")
    name = argv[1]
    atheris = cast("Atheris", importlib.import_module("atheris"))
    with atheris.instrument_imports(include=["trio_cpvm"]):
        check: Callable[[bytes], None] = importlib.import_module(f"fuzz.{name}").check
    folders = [*argv[2:], str(CORPUS / name)] if (CORPUS / name).is_dir() else argv[2:]
    atheris.Setup([str(Path(argv[0])), *folders], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
