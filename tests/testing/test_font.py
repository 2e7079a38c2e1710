"""The font: every printable character can be told from every other, and cells have the size they should."""

from __future__ import annotations

import pytest

from trio_cpvm.testing.font import CELL_HEIGHT, CELL_WIDTH, cell, line

ASCII = [chr(code) for code in range(0x20, 0x7F)]
BOX = cell("\x00")


@pytest.mark.parametrize("scale", [1, 2])
def test_cells_have_their_size_and_hold_only_ink(scale: int) -> None:
    for char in [*ASCII, "ä", "Å", "ç", "\N{SNOWMAN}"]:
        rows = cell(char, scale)
        assert len(rows) == CELL_HEIGHT * scale
        assert {len(row) for row in rows} == {CELL_WIDTH * scale}
        assert set(b"".join(rows)) <= {0, 1}


def test_no_two_characters_look_alike() -> None:
    drawn = [*ASCII, *"äàáâãåçñéüÄÀÁÂÃÅÇÑÉÜß°§£€µ¿¡"]
    assert len({cell(char) for char in drawn} | {BOX}) == len(drawn) + 1


def test_what_is_not_drawn_is_a_box() -> None:
    assert cell("\N{SNOWMAN}") == cell("ø") == BOX


def test_only_the_space_is_empty() -> None:
    assert [char for char in ASCII if not any(map(any, cell(char)))] == [" "]


def test_neighbours_do_not_touch() -> None:
    for char in ASCII:
        assert not any(row[-1] for row in cell(char)), char


def test_doubling_keeps_all_ink_and_rounds_diagonals() -> None:
    small, large = cell("/"), cell("/", 2)
    for y, row in enumerate(small):
        for x, ink in enumerate(row):
            if ink:
                assert large[2 * y][2 * x] == large[2 * y + 1][2 * x + 1] == 1
    assert sum(map(sum, large)) > 4 * sum(map(sum, small))
    # A straight stroke stays as it is.
    assert sum(map(sum, cell("|", 2))) == 4 * sum(map(sum, cell("|")))


def test_a_line_is_its_cells_side_by_side() -> None:
    assert line("ab") == tuple(a + b for a, b in zip(cell("a"), cell("b"), strict=True))
    assert line("") == ()


@pytest.mark.parametrize(("char", "scale"), [("a", 3), ("a", 0), ("ab", 1), ("", 1)])
def test_other_requests_are_refused(char: str, scale: int) -> None:
    with pytest.raises(ValueError, match="scale"):
        cell(char, scale)
