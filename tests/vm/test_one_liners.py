"""The one-liners of docs/one-liners.md that are at functions of the kernel, on real traffic."""

from __future__ import annotations

from pathlib import Path

from network import Network
from test_one_liners import AT_FUNCTIONS, one_liners, run_all, shows_what_the_page_shows


def test_they_show_what_the_page_shows(net: Network, tmp_path: Path) -> None:
    wanted = [one for one in one_liners() if AT_FUNCTIONS.search(one.command) and not one.refused]
    assert wanted
    ran = run_all(net, [one.command for one in wanted], tmp_path)
    for one in wanted:
        shows_what_the_page_shows(one, ran[one.command])
