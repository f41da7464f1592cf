"""The mutation check breaks what is there: if the tree changes and it does not, it has nothing to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.mutate import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_what_is_changed_stands_there_once(mutation: Mutation) -> None:
    assert Path(ROOT, mutation.path).read_text(encoding="utf-8").count(mutation.old) == 1
