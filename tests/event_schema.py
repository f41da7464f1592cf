"""docs/events.schema.json, as the tests hold JSON lines against it: no key may be there that it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[1] / "docs/events.schema.json").read_text(encoding="utf-8")
)
Draft202012Validator.check_schema(SCHEMA)


def _closed(part: Any) -> Any:
    """The schema without room for more keys, where it says all keys of an object."""
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {key: _closed(each) for key, each in part.items()}
    return {**closed, "additionalProperties": False} if {"required", "properties"} <= part.keys() else closed


_KINDS = {
    name: Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _closed(SCHEMA["$defs"])})
    for name in SCHEMA["$defs"]
}
_ANY = Draft202012Validator(SCHEMA)


def check(entry: dict[str, Any]) -> None:
    """AssertionError if the line's object is not as documented: the keys, their order, and what they hold."""
    assert _ANY.is_valid(entry), entry
    problems = [f"{error.json_path}: {error.message}" for error in _KINDS[entry["type"]].iter_errors(entry)]
    assert not problems, problems
    known = SCHEMA["$defs"][entry["type"]]["properties"]
    assert list(entry) == [key for key in known if key in entry]
