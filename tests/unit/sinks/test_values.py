import pytest

from xcapscript.layout import Value
from xcapscript.sinks.values import ValueText, label, labels, text_of
from xcapscript.types import S32, TASK_COMM, U64, EnumType, InternedType, PointerType, StackType, Type

DROP_REASONS = EnumType(
    "skb_drop_reason",
    ((0, "SKB_NOT_DROPPED_YET"), (1, "SKB_CONSUMED"), (2, "SKB_DROP_REASON_NOT_SPECIFIED")),
)
STATES = EnumType("tcp_state", ((1, "TCP_ESTABLISHED"), (13, "TCP_MAX_STATES"), (13, "TCP_OTHER_NAME")))


def frames(addresses: tuple[int, ...], depth: int) -> list[str]:
    return [f"f{address:x}\x1b" for address in addresses[1 : depth + 1]]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (U64, 1 << 63, "9223372036854775808"),
        (S32, -5, "-5"),
        (TASK_COMM, b"a b\xff\x1b", "a b\\xff\\x1b"),
        (TASK_COMM, "vé".encode(), "vé"),
        (PointerType("struct sk_buff"), 0xFFFF888100001234, "0xffff888100001234"),
        (InternedType(), 1, "two\n"),
        (InternedType(), 9, "9"),
        (DROP_REASONS, 2, "NOT_SPECIFIED"),
        (DROP_REASONS, 77, "77"),
        (STATES, 1, "TCP_ESTABLISHED"),
        (StackType(2), (1, 2, 3, 4), "f2\\x1b\nf3\\x1b"),
        (StackType(2), (), ""),
    ],
)
def test_each_type_has_its_text(kind: Type, value: Value, text: str) -> None:
    assert ValueText(("one", "two\n"), frames).text(kind, value) == text


def test_drop_reasons_go_without_their_prefix() -> None:
    assert [label(DROP_REASONS, value) for value in range(4)] == ["NOT_DROPPED_YET", "CONSUMED", "NOT_SPECIFIED", "3"]
    assert labels(STATES) == {1: "TCP_ESTABLISHED", 13: "TCP_MAX_STATES"}


def test_strings_of_the_kernel_cannot_steer_a_terminal() -> None:
    assert text_of(b"\x1b[2J\xe2\x80\xae\n\xc3\x28") == "\\x1b[2J\\u202e\\x0a\\xc3("
