"""Members of structs by debugging information, against what the compiler itself says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.values_in_c import COMPILER, needs_compiler
from xcapscript.elf.binary import Binary
from xcapscript.elf.dwarf import member_offsets

pytestmark = needs_compiler
PROGRAM = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
struct other { int next; };
struct rte_mbuf;
struct rte_mbuf {
    void *buf_addr;
    union { uint64_t iova; struct rte_mbuf *unused; };
    uint16_t data_off;
    union {
        void *fields[3];
        struct { uint32_t type; union { uint32_t pkt_len; uint16_t half; }; uint16_t data_len; };
    };
    struct rte_mbuf *next __attribute__((aligned(64)));
};
int main(void)
{
    static struct rte_mbuf mbuf;
    struct other other = { 1 };
    printf("%zu %zu %zu %zu %zu", offsetof(struct rte_mbuf, buf_addr), offsetof(struct rte_mbuf, data_off),
           offsetof(struct rte_mbuf, pkt_len), offsetof(struct rte_mbuf, data_len), offsetof(struct rte_mbuf, next));
    return !other.next || mbuf.next;
}
"""
MEMBERS = ("buf_addr", "data_off", "pkt_len", "data_len", "next")


@pytest.mark.parametrize("flags", [["-gdwarf-4"], ["-gdwarf-5"], ["-gdwarf-5", "-gz"]], ids=" ".join)
def test_offsets_are_the_compilers(tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "x.c").write_text(PROGRAM)
    subprocess.run([str(COMPILER), *flags, "-o", tmp_path / "x", tmp_path / "x.c"], check=True)
    said = subprocess.run([tmp_path / "x"], check=True, capture_output=True, text=True).stdout
    binary = Binary(tmp_path / "x")
    found = member_offsets(binary, "rte_mbuf", MEMBERS)
    assert found is not None
    assert [found[name] for name in MEMBERS] == [int(word) for word in said.split()]
    assert member_offsets(binary, "rte_mbuf", ("buf_addr", "missing")) is None
    assert member_offsets(binary, "sk_buff", ("len",)) is None


def test_without_debugging_information(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(PROGRAM)
    subprocess.run([str(COMPILER), "-o", tmp_path / "x", tmp_path / "x.c"], check=True)
    assert member_offsets(Binary(tmp_path / "x"), "rte_mbuf", MEMBERS) is None
