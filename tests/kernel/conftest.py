"""Fixtures of the tests on a real kernel."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hosts import net, quiet

__all__ = ["net", "quiet"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root nothing here can run; the reason is printed with the skips."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason="needs root: it loads BPF programs"))
