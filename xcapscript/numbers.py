"""Numbers for people, in as few characters as tell enough."""

from __future__ import annotations

_SHORT_FROM = 10_000
_UNITS = ("", "k", "M", "G", "T", "P", "E")


def short(number: int) -> str:
    """As it is while that is short."""
    return str(number) if number < _SHORT_FROM else scaled(number, "")


def scaled(number: int, space: str) -> str:
    """With three digits and a unit of thousands, `space` between them."""
    power, value = 0, float(number)
    while value >= 999.5 and power < len(_UNITS) - 1:
        power, value = power + 1, value / 1000
    digits = 0 if power == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{space}{_UNITS[power]}"
