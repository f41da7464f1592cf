import fcntl
import os
import pty
import struct
import termios
from collections.abc import Callable, Iterator

import pytest

from tests.screen import Screen
from xcapscript.cli.progress import BETWEEN, Progress, SoFar


class Terminal:
    """A status line on a terminal of so many columns, and a clock that the test moves."""

    def __init__(self, columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._stream = os.fdopen(theirs, "w")
        self._screen = Screen(columns)
        self.now = 100.0
        self.progress = Progress(self._stream, lambda: self.now)

    def tick(self, number: int, lost: int = 0, size: int | None = None, unit: str = "packets") -> None:
        self.progress.tick(lambda: SoFar(number, unit, lost, size))
        self.now += BETWEEN

    def print(self, text: str) -> None:
        self.progress.make_way(text)
        self._stream.write(text)
        self._stream.flush()

    def seen(self) -> list[str]:
        self._stream.write("~")
        self._stream.flush()
        written = b""
        while not written.endswith(b"~"):
            written += os.read(self._ours, 65536)
        self._screen.write(written.decode().removesuffix("~").replace("\r\n", "\n"))
        return self._screen.lines()

    def close(self) -> None:
        self._stream.close()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Callable[[int], Terminal]]:
    made: list[Terminal] = []

    def make(columns: int = 80) -> Terminal:
        made.append(Terminal(columns))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_line_is_rewritten_in_place(terminal: Callable[..., Terminal]) -> None:
    of = terminal()
    of.tick(0, 0, 112)
    assert of.seen() == ["0 packets, 0/s, 0 lost, 112 B"]
    of.tick(12_345, 7, 1_234_567)
    assert of.seen() == ["12,345 packets, 24,690/s, 7 lost, 1.23 MB"]
    of.tick(12_345)
    assert of.seen() == ["12,345 packets, 0/s, 0 lost"]
    of.progress.clear()
    assert of.seen() == [""]


def test_it_is_not_looked_at_more_often_than_that(terminal: Callable[..., Terminal]) -> None:
    of, looks = terminal(), 0

    def look() -> SoFar:
        nonlocal looks
        looks += 1
        return SoFar(0, "packets", 0, None)

    for _ in range(1281):
        of.progress.tick(look)
        of.now += BETWEEN / 128
    assert looks == 11


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "1,234,567 packets, 2,469,134/s, 89,012 lost, 999 MB"),
        (52, "1,234,567 packets, 2,469,134/s, 89,012 lost, 999 MB"),
        (51, "1.23M packets, 2.47M/s, 89.0k lost, 999 MB"),
        (40, "1.23M packets, 89.0k lost"),
        (20, "1.23M, 89.0k lost"),
        (10, "1.23M"),
        (4, ""),
    ],
)
def test_the_line_is_never_longer_than_the_terminal(terminal: Callable[..., Terminal], columns: int, line: str) -> None:
    of = terminal(columns)
    of.tick(0)
    of.tick(1_234_567, 89_012, 999_000_000)
    assert of.seen() == [line]


def test_usual_numbers_fit_in_40_columns(terminal: Callable[..., Terminal]) -> None:
    of = terminal(40)
    of.tick(0)
    of.tick(98_765, 0, 12_345_678)
    assert of.seen() == ["98.8k packets, 198k/s, 0 lost, 12.3 MB"]


def test_what_is_printed_is_not_torn(terminal: Callable[..., Terminal]) -> None:
    of = terminal()
    for number in range(3):
        of.tick(number)
        of.print(f"line {number}\n")
    of.tick(3)
    assert of.seen() == ["line 0", "line 1", "line 2", "3 packets, 2/s, 0 lost"]
    of.print("a")
    of.tick(4)
    of.print("b\n")
    of.tick(5, unit="matched")
    assert of.seen() == ["line 0", "line 1", "line 2", "ab", "5 matched, 2/s, 0 lost"]


def test_the_echo_of_an_interrupt_goes_with_it(terminal: Callable[..., Terminal]) -> None:
    of = terminal()
    of.tick(1)
    of._stream.write("^C")
    of.progress.clear()
    assert of.seen() == [""]
