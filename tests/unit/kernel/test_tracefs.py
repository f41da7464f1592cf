"""Format files as the kernel writes them (Linux 6.18, without their last line)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel.facts import Tracepoint, TracepointField
from xcapscript.kernel.tracefs import DYNAMIC_STRING_SIZE, Tracefs, parse_format
from xcapscript.types import S32, S64, U16, U32, U64, EnumType, IntType, OpaqueType, PointerType, StringType, Type

FORMATS = Path(__file__).parents[2] / "data" / "kernel" / "formats"
REASON = EnumType("skb_drop_reason", ((2, "SKB_DROP_REASON_NOT_SPECIFIED"),))


def enum(name: str) -> EnumType | None:
    return REASON if name == REASON.name else None


def read(category: str, name: str) -> Tracepoint:
    return parse_format(category, name, (FORMATS / name).read_text(), enum)


def field(declaration: str, size: int, *, signed: int = 0) -> TracepointField | None:
    text = f"name: x\nID: 7\nformat:\n\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:{signed};\n"
    fields = parse_format("a", "b", text, enum).fields
    return fields[0] if fields else None


def test_kfree_skb() -> None:
    found = read("skb", "kfree_skb")
    number = re.search(r"ID: (\d+)", (FORMATS / "kfree_skb").read_text())
    assert number is not None
    assert (found.category, found.name, found.id) == ("skb", "kfree_skb", int(number[1]))
    assert found.fields == (
        TracepointField("skbaddr", PointerType("void"), 8),
        TracepointField("location", PointerType("void"), 16),
        TracepointField("rx_sk", PointerType("void"), 24),
        TracepointField("protocol", U16, 32),
        TracepointField("reason", REASON, 36),
    )


def test_net_dev_xmit_has_a_dynamic_string() -> None:
    assert read("net", "net_dev_xmit").fields == (
        TracepointField("skbaddr", PointerType("void"), 8),
        TracepointField("len", U32, 16),
        TracepointField("rc", S32, 20),
        TracepointField("name", StringType(DYNAMIC_STRING_SIZE), 24, dynamic=True),
    )


def test_sched_switch_has_strings_in_place() -> None:
    found = {f.name: (f.type, f.offset) for f in read("sched", "sched_switch").fields}
    assert found["prev_comm"] == (StringType(16), 8)
    assert found["prev_state"] == (S64, 32)
    assert found["next_pid"] == (S32, 56)


def test_inet_sock_set_state_has_arrays() -> None:
    found = {f.name: f.type for f in read("sock", "inet_sock_set_state").fields}
    assert found["saddr"] == OpaqueType("__u8[4]")
    assert found["sport"] == U16


def test_arguments_of_system_calls_are_as_wide_as_a_register() -> None:
    found = {f.name: f.type for f in read("syscalls", "sys_enter_sendto").fields}
    assert found["fd"] == U64
    assert found["buff"] == PointerType("void")
    assert found["addr"] == PointerType("struct sockaddr")


def test_common_fields_are_left_out() -> None:
    assert not [f for f in read("skb", "kfree_skb").fields if f.name.startswith("common_")]


@pytest.mark.parametrize(
    ("declaration", "size", "signed", "kind"),
    [
        ("bool ok", 1, 0, IntType(8)),
        ("pid_t pid", 4, 1, S32),
        ("const struct sock * sk", 8, 0, PointerType("struct sock")),
        ("const void*bare", 8, 0, PointerType("void")),
        ("const char *const * argv", 8, 0, PointerType("char *")),
        ("void __seg_gs * percpu", 8, 0, PointerType("void")),
        ("enum skb_drop_reason reason", 4, 0, REASON),
        ("enum unheard_of what", 4, 0, EnumType("unheard_of", ())),
        ("const enum landlock_rule_type rule_type", 8, 0, U64),
        ("char comm[TASK_COMM_LEN]", 16, 1, StringType(16)),
        ("char tail[]", 0, 1, OpaqueType("char[]")),
        ("unsigned char mac[6]", 6, 0, OpaqueType("unsigned char[6]")),
        ("struct in6_addr addr", 16, 0, OpaqueType("struct in6_addr")),
        ("struct pair pair", 8, 0, OpaqueType("struct pair")),
        ("cpumask_t mask", 1024, 0, OpaqueType("cpumask_t")),
        ("__rel_loc char[] name", 4, 0, OpaqueType("__rel_loc char[]")),
    ],
)
def test_declared_types(declaration: str, size: int, signed: int, kind: Type) -> None:
    found = field(declaration, size, signed=signed)
    assert found is not None
    assert found.type == kind
    assert not found.dynamic


@pytest.mark.parametrize(
    ("declaration", "kind"),
    [
        ("__data_loc char[] name", StringType(DYNAMIC_STRING_SIZE)),
        ("__data_loc u64[] values", OpaqueType("u64[]")),
        ("__data_loc cpumask_t mask", OpaqueType("cpumask_t")),
    ],
)
def test_dynamic_fields(declaration: str, kind: Type) -> None:
    found = field(declaration, 4)
    assert found is not None
    assert found.type == kind
    assert found.dynamic


def test_a_pointer_to_a_function_is_left_out() -> None:
    assert field("int (*call)(void)", 8) is None


def test_a_tracepoint_without_fields() -> None:
    assert parse_format("a", "b", "name: b\nID: 7\nformat:\n", enum) == Tracepoint("a", "b", 7, ())


def test_a_format_without_an_id_is_an_error() -> None:
    with pytest.raises(KernelError):
        parse_format("ftrace", "x", "name: x\nformat:\n", enum)


def test_no_tracefs_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("xcapscript.kernel.tracefs.MOUNT_POINTS", ())
    monkeypatch.setattr("xcapscript.kernel.tracefs._mount_detached", refuse)
    with pytest.raises(KernelError) as caught:
        Tracefs()
    assert "mount -t tracefs" in str(caught.value.advice)


def test_a_mounted_tracefs_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event = tmp_path / "events" / "sched" / "sched_switch"
    event.mkdir(parents=True)
    (event / "format").write_text((FORMATS / "sched_switch").read_text())
    (tmp_path / "available_events").write_text("sched:sched_switch\nnet:netif_rx\n")
    monkeypatch.setattr("xcapscript.kernel.tracefs.MOUNT_POINTS", (str(tmp_path),))
    tracefs = Tracefs()
    assert tracefs.names == ("net:netif_rx", "sched:sched_switch")
    assert tracefs.tracepoint("sched", "sched_switch", enum) == read("sched", "sched_switch")


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("sched", "none"),
        ("none", "sched_switch"),
        ("..", "sched"),
        ("sched/sched_switch", "."),
        ("", ""),
        ("sched", "*"),
    ],
)
def test_what_is_no_tracepoint_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, category: str, name: str
) -> None:
    event = tmp_path / "events" / "sched" / "sched_switch"
    event.mkdir(parents=True)
    (event / "format").touch()
    monkeypatch.setattr("xcapscript.kernel.tracefs.MOUNT_POINTS", (str(tmp_path),))
    assert Tracefs().tracepoint(category, name, enum) is None
