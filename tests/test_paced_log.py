"""A flood of events is a few lines, and none of them gets lost uncounted."""

from __future__ import annotations

from trio_cpvm.paced_log import PacedLog


class Log:
    """What was written, and a clock."""

    def __init__(self) -> None:
        self.now = 5.0
        self.lines: list[dict[str, object]] = []

    def clock(self) -> float:
        return self.now

    def info(self, event: str, **fields: object) -> None:
        self.lines.append({"event": event, **fields})


def test_so_many_lines_in_a_second_and_the_next_one_counts_the_rest() -> None:
    log = Log()
    paced = PacedLog(2, log.clock)
    for number in range(10):
        paced.write(log.info, "refused", number=number)
        log.now += 0.05
    assert log.lines == [{"event": "refused", "number": 0}, {"event": "refused", "number": 1}]
    log.now = 6
    paced.write(log.info, "closed")
    paced.write(log.info, "closed")
    assert log.lines[2:] == [{"event": "closed", "left_out": 8}, {"event": "closed"}]
    paced.write(log.info, "closed")
    log.now = 100
    paced.write(log.info, "late")
    assert log.lines[4:] == [{"event": "late", "left_out": 1}]


def test_a_few_lines_are_all_written() -> None:
    log = Log()
    paced = PacedLog(clock=log.clock)
    for _ in range(20):
        paced.write(log.info, "refused")
    assert log.lines == [{"event": "refused"}] * 20
