from __future__ import annotations

import pytest

from xcapscript.builtins import BUILTINS, OPTIONS, PACKET_FIELDS
from xcapscript.repl.help import TOPICS, topic_text
from xcapscript.repl.rows import paragraph, rows
from xcapscript.repl.words import ACTION_DOCS, AGGREGATION_DOCS, FUNCTION_DOCS, KIND_DOCS, doc_of
from xcapscript.sema.check import ACTIONS
from xcapscript.sema.expressions import FUNCTIONS
from xcapscript.sema.maps import AGGREGATIONS
from xcapscript.unit import HookKind


def test_every_word_of_the_language_is_explained() -> None:
    assert set(ACTION_DOCS) == set(ACTIONS)
    assert set(AGGREGATION_DOCS) == set(AGGREGATIONS)
    assert set(FUNCTION_DOCS) >= set(FUNCTIONS)
    assert set(KIND_DOCS) >= {kind.value for kind in HookKind}
    for word in (*ACTIONS, *AGGREGATIONS, *FUNCTIONS, *BUILTINS, *PACKET_FIELDS, *OPTIONS, *HookKind):
        assert doc_of(word), word
    assert doc_of("nothing") is None


def test_a_word_of_two_meanings_has_both() -> None:
    assert doc_of("count") == f"{ACTION_DOCS['count']}\n{AGGREGATION_DOCS['count']}"


@pytest.mark.parametrize("width", [30, 40, 80, 200])
@pytest.mark.parametrize("topic", TOPICS)
def test_topics_are_as_wide_as_the_terminal(topic: str, width: int) -> None:
    text = topic_text(topic, width)
    assert text
    longest_word = max(len(line) for line in text.splitlines() if not line.startswith(" "))
    assert max(map(len, text.splitlines())) <= max(width, longest_word)


def test_rows_stand_below_each_other() -> None:
    assert rows([("a", "one two three"), ("long", "four")], 33) == "a     one two three\nlong  four"
    assert rows([("a", "one two three four five six")], 29) == "a  one two three four five\n   six"


def test_where_there_is_no_room_the_meaning_stands_below() -> None:
    assert rows([("a-long-word", "one two three four five")], 30) == "a-long-word\n    one two three four five"


def test_paragraphs_are_wrapped() -> None:
    assert paragraph("one two three", 9) == "one two\nthree"
