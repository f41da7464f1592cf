"""Runs the C of values and statements on this machine: what the kernel side has, as far as values go."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from xcapscript.codegen.emitter import Emitter
from xcapscript.codegen.expr import Values
from xcapscript.codegen.stmt import Context, write_statements
from xcapscript.codegen.strings import Strings
from xcapscript.codegen.structs import struct_text
from xcapscript.layout import EVENT, FLOW, PACKET, Layout
from xcapscript.nodes.expressions import Expression
from xcapscript.nodes.statements import Statement
from xcapscript.resources import bpf_directory
from xcapscript.source import Source, Span
from xcapscript.unit import Buffer, HookKind, MapSpec

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")

SPAN = Span(Source("case", "x"), 0, 1)
KERNEL = 0xFFFF_8880_0000_1000
"""Where the memory lies that is given as the kernel's; what is in no process and not there cannot be read."""

TYPES = """\
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef int8_t s8; typedef int16_t s16; typedef int32_t s32; typedef int64_t s64;
struct net { struct { u32 inum; } ns; };
struct net_device { u32 ifindex; u16 type; char name[16]; struct { struct net *net; } nd_net; };
struct nsproxy { struct net *net_ns; };
struct task_struct { struct nsproxy *nsproxy; };
struct sock { struct { u16 skc_family; struct { struct net *net; } skc_net; } __sk_common; };
struct sk_buff {
	struct net_device *dev; struct sock *sk; u8 *head, *data; u32 len, tail, mark, pkt_type;
	u16 mac_header, network_header, queue_mapping, vlan_proto, vlan_tci; u8 vlan_present;
};
struct bpf_raw_tracepoint_args { u64 args[16]; };
#define XCAP_WINDOW 256
#define XCAP_SNAPLEN 262144
#define XCAP_TYPED 0
#define XCAP_XDP_FRAGS 0
static long bpf_skb_load_bytes(void *skb, u32 offset, void *to, u32 size) { return -1; }
#define XCAP_bpf_dynptr_from_skb 200
"""

SHIM = f"""\
static const u64 kernel_address = {KERNEL:#x}ULL;
static u32 reads, lookups;
"""

SHIM += """\
static u64 bpf_get_current_pid_tgid(void) { return 812ULL << 32 | 815; }
static u64 bpf_get_current_task(void) { return 0; }
static u64 bpf_get_current_uid_gid(void) { return 7ULL << 32 | 1000; }
static u64 bpf_get_current_cgroup_id(void) { return 0x100000abcULL; }
static u32 bpf_get_smp_processor_id(void) { return 3; }
static u64 bpf_ktime_get_ns(void) { return 0x123456789abcULL; }
static void bpf_get_current_comm(char *to, u32 size) { memset(to, 0, size); strcpy(to, "ping"); }

/* NULL if a byte of it cannot be read. */
static const char *readable(u64 from, u32 size)
{
	reads++;
	if (from >> 47 == 0)
		return from < 4096 ? NULL : (const char *)from;
	if (from - kernel_address > sizeof(memory) || size > sizeof(memory) - (from - kernel_address))
		return NULL;
	return memory + (from - kernel_address);
}
static long bpf_probe_read_kernel(void *to, u32 size, const void *from)
{
	const char *found = readable((u64)from, size);

	memset(to, 0, size);
	if (!found)
		return -14;
	memcpy(to, found, size);
	return 0;
}
static long bpf_probe_read_kernel_str(char *to, u32 size, const char *from)
{
	u32 length = 0;

	if (!readable((u64)from, 0)) {
		memset(to, 0, size);
		return -14;
	}
	for (from = readable((u64)from, 0); length + 1 < size && from[length]; length++)
		to[length] = from[length];
	to[length++] = 0;
	return length;
}
static long bpf_probe_read_user(void *to, u32 size, const void *from) { return -14; }
static long bpf_probe_read_user_str(char *to, u32 size, const char *from) { return -14; }
static long bpf_get_stack(void *ctx, void *to, u32 size, u64 flags)
{
	const u64 frames[] = {0xffffffff81000001ULL, 0xffffffff81000002ULL};

	memset(to, 0, size);
	memcpy(to, frames, sizeof(frames));
	return sizeof(frames);
}
"""

# The device's name was longer once.
SCENE = """\
	static struct net net = {{4026532281u}};
	static struct net_device dev = {5, 1, "veth0\\0stale"};
	static struct xcap_hit hit_;
	struct xcap_hit *hit = &hit_;
	static struct sk_buff skb_;
	struct sk_buff *skb = &skb_;
	static struct xcap_counters counters_, *counters = &counters_;
	static struct xcap_control control_ = {.started = 0x123456780000ULL}, *control = &control_;
	static struct xcap_view view;
	static struct xcap_layers layers;
	static struct scratch scratch_, *scratch = &scratch_;
	memset(scratch, 0xaa, sizeof(*scratch));
	dev.nd_net.net = &net;
	skb->dev = &dev;
	skb->mark = 0xfeedbeef;
	skb->queue_mapping = 513;
	hit->wire_len = 1514;
	hit->cap_len = 1500;
"""

# A map is an array of keys and values, which are all that is in it at first.
MAP = """\
static struct {{ struct {key} key; struct {value} value; u8 used; }} {symbol}_rows[16];
static int {symbol}_row(struct {key} *key)
{{
	for (int at = 0; at < 16; at++)
		if ({symbol}_rows[at].used && !memcmp(key, &{symbol}_rows[at].key, sizeof(*key)))
			return at;
	return -1;
}}
static struct {value} *{symbol}_lookup(struct {key} *key)
{{
	int at = {symbol}_row(key);

	lookups++;
	return at < 0 ? NULL : &{symbol}_rows[at].value;
}}
static int {symbol}_update(struct {key} *key, struct {value} *value)
{{
	int at = {symbol}_row(key);

	if (at < 0)
		for (at = 0; at < 16 && {symbol}_rows[at].used; at++)
			;
	if (at == 16)
		return -7;
	{symbol}_rows[at].key = *key;
	{symbol}_rows[at].value = *value;
	{symbol}_rows[at].used = 1;
	return 0;
}}
static struct {value} *{symbol}_init(struct {key} *key, struct {value} *value)
{{
	if ({symbol}_row(key) < 0)
		{symbol}_update(key, value);
	return {symbol}_lookup(key);
}}
static int {symbol}_delete(struct {key} *key)
{{
	int at = {symbol}_row(key);

	if (at >= 0)
		{symbol}_rows[at].used = 0;
	return at < 0 ? -2 : 0;
}}
static const struct {{
	struct {value} *(*lookup)(struct {key} *key);
	int (*update)(struct {key} *key, struct {value} *value);
	struct {value} *(*lookup_or_try_init)(struct {key} *key, struct {value} *value);
	int (*delete)(struct {key} *key);
}} {symbol} = {{{symbol}_lookup, {symbol}_update, {symbol}_init, {symbol}_delete}};
"""

MISSED = """\
static u64 missed_;
static u64 *missed_lookup(u32 *map) { return &missed_; }
static const struct { u64 *(*lookup)(u32 *map); } xcap_map_full = {missed_lookup};
"""


class Writer:
    """Collects the statements of a program as codegen writes them, and runs them."""

    def __init__(
        self, kind: HookKind = HookKind.RAWTRACEPOINT, strings: Strings | None = None, maps: Sequence[MapSpec] = ()
    ) -> None:
        self.out = Emitter(1)
        self.maps = {spec.name: spec for spec in maps}
        self.values = Values(kind, Strings() if strings is None else strings, self.maps, 0, {})
        self._context = Context(self.values, self.maps, 256, 0, _no_record, None, None, Buffer.RING)
        self.values.write_statement = lambda out, statement: write_statements(out, self._context, (statement,))

    def print(self, value: Expression) -> None:
        """Print a number, modulo 2**64."""
        self.print_c(self.values.number(self.out, value))

    def print_c(self, text: str) -> None:
        self.out.line(f'printf("%llu ", (unsigned long long){text});')

    def do(self, *statements: Statement) -> None:
        write_statements(self.out, self._context, statements)

    def numbers(self, directory: Path, context: bytes = b"", memory: bytes = b"", view: str = "") -> list[int]:
        """What was printed."""
        return [int(number) for number in self.run(directory, (), context, memory, view).split()]

    def run(
        self,
        directory: Path,
        structs: Sequence[Layout] = (),
        context: bytes = b"",
        memory: bytes = b"",
        view: str = "",
    ) -> bytes:
        """What is written, with `ctx` pointing at `context`; `view` is C that fills the view and the layers."""
        lines = _text(self, structs, context, memory, view)
        (directory / "x.c").write_text("\n".join(lines))
        include = f"-I{bpf_directory() / 'include'}"
        # -fno-strict-aliasing: a record is read as whatever lies in it, as the kernel is built with
        flags = ["-O1", "-fwrapv", "-fno-strict-aliasing", "-w", include]
        subprocess.run([str(COMPILER), *flags, "-o", directory / "x", directory / "x.c"], check=True)
        return subprocess.run([directory / "x"], check=True, capture_output=True).stdout


def _text(writer: Writer, structs: Sequence[Layout], context: bytes, memory: bytes, view: str) -> list[str]:
    maps, scratch = writer.maps.values(), writer.values.scratch
    layouts = (*structs, *(part for spec in maps for part in (spec.key, spec.value)), *scratch.values())
    declared = {layout.name: layout for layout in layouts}
    return [
        TYPES,
        c_bytes("memory", memory),
        SHIM,
        "#include <xcap/address.h>",
        *map(struct_text, [EVENT, PACKET, FLOW]),
        "#include <xcap/view.h>",
        "#include <xcap/layers.h>",
        *map(struct_text, declared.values()),
        MISSED,
        *(MAP.format(symbol=spec.symbol, key=spec.key.name, value=spec.value.name) for spec in maps),
        _scratch(scratch),
        f"static struct bpf_raw_tracepoint_args record_ = {{{{{_words(context)}}}}};",
        "int main(void)\n{\n\tvoid *context = &record_;\n\tstruct bpf_raw_tracepoint_args *ctx = context;",
        SCENE,
        view,
        writer.out.text(),
        "\treturn ctx == NULL || hit == NULL;\n}",
    ]


def packet_view(data: bytes, link: int) -> str:
    """C that fills the view and the layers of a packet."""
    return (
        f"\tstatic {c_bytes('packet', data).removeprefix('static ')}\n"
        "\tview.window = (const u8 *)packet;\n"
        f"\tview.window_len = view.cap_len = view.linear_len = view.wire_len = {len(data)};\n"
        f"\txcap_find_layers(&view, {link}, &layers);"
    )


def c_bytes(name: str, data: bytes) -> str:
    """An array of just these bytes."""
    return f"static const char {name}[{len(data)}] = {{{', '.join(map(str, data))}}};"


def _scratch(members: Mapping[str, Layout]) -> str:
    return "struct scratch {\n" + "".join(f"\tstruct {each.name} {name};\n" for name, each in members.items()) + "};"


def _words(context: bytes) -> str:
    return ", ".join(f"{word}ULL" for word in struct.unpack("=16Q", context.ljust(128, b"\0")))


def _no_record(*_args: object, **_more: object) -> None:
    raise AssertionError("no statement here sends a record")
