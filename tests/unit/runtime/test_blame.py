"""Logs as clang and the verifier of Linux 6.18 printed them (their middles cut out), and whom they blame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xcapscript.diagnostics import Code, ScriptError
from xcapscript.errors import CompilerBug, KernelError
from xcapscript.runtime import blame
from xcapscript.runtime.blame import blame_compiler, blame_verifier
from xcapscript.source import Source
from xcapscript.unit import Attachment, HookKind, Program, Unit

SCRIPT = Source("scripts/x.xcap", "rx /tcp/ { dump; }\ntx { count(len); }\n")
LIBRARY = Source("scripts/lib.xcap", "drop { count; }", SCRIPT.span(0, 2))

IN_THE_SCRIPT = """\
scripts/x.xcap:2:8: error: no member named 'k9' in 'struct xcap_key_0'
                key->k9 = xcap_len(hit);
                ~~~  ^
1 error generated.
"""

IN_THE_LIBRARY = IN_THE_SCRIPT.replace("x.xcap:2", "lib.xcap:1")

IN_OURS = """\
/virtual/main.c:60:8: error: unknown type name 'inlin'; did you mean 'inline'?
static inlin __attribute__((always_inline)) int xcap_filter_0_ethernet(const struct xcap_view *v)
       ^~~~~
       inline
1 error generated.
"""

NO_HEADER = """\
/virtual/main.c:29:10: fatal error: 'xcap/nothere.h' file not found
#include <xcap/nothere.h>
         ^~~~~~~~~~~~~~~~
1 error generated.
"""

TOO_MUCH_STACK = """\
error: /virtual/main.c:0:0: in function xcap_probe_0 i32 (%struct.bpf_raw_tracepoint_args*): \
Looks like the BPF stack limit of 512 bytes is exceeded. Please move large on stack variables into BPF \
per-cpu array map.


"""

# BCC prints its own line first or last, as the two streams happen to be flushed.
BAD_ACCESS = """\
bpf: Failed to load program: Permission denied
0: R1=ctx() R10=fp0
; int xcap_probe_0(struct bpf_raw_tracepoint_args *ctx) @ main.c:174
0: (bf) r8 = r1                       ; R1=ctx() R8=ctx()
; u32 zero = 0, program = 0, lost = 0; @ main.c:177
1: (b7) r1 = 0                        ; R1=0
;  @ main.c:0
22: (15) if r9 == 0x0 goto pc+287     ; R9=map_value(map=xcap_controls,ks=4,vs=16)
; if (a == 6u) @ main.c:135
132: (15) if r1 == 0x6 goto pc+40 173: R0=0 R1=6 R2=10 R4=16 R6=map_value(map=xcap_counts,ks=4,vs=40) R10=fp0
; counters->matched++; hit->start = ctx->args[400]; @ main.c:203
178: (79) r1 = *(u64 *)(r10 -32)      ; R1=ctx() R10=fp0 fp-32=ctx()
179: (79) r1 = *(u64 *)(r1 +3200)
invalid bpf_context access off=3200 size=8
processed 134 insns (limit 1000000) max_states_per_insn 0 total_states 12 peak_states 12 mark_read 0

"""

BAD_REGISTER = """\
0: R1=ctx() R10=fp0
0: (bf) r8 = r1                       ; R1=ctx() R8=ctx()
28: (79) r3 = *(u64 *)(r8 +0)
func 'netif_receive_skb' arg0 has btf_id 873 type STRUCT 'sk_buff'
29: R3=trusted_ptr_sk_buff() R8=ctx()
417: (61) r9 = *(u32 *)(r7 +244)      ; R7=map_value(map=xcap_scratch_0_,ks=4,vs=16984) R9=scalar(smin=0)
418: (79) r1 = *(u64 *)(r7 +224)      ; R1=scalar() R7=map_value(map=xcap_scratch_0_,ks=4,vs=16984)
419: (b7) r2 = 1                      ; R2=1
420: (7b) *(u64 *)(r1 +0) = r2
R1 invalid mem access 'scalar'
processed 297 insns (limit 1000000) max_states_per_insn 1 total_states 23 peak_states 23 mark_read 0
"""

TOO_LONG = """\
=4,vs=16712) R8=map_value(map=xcap_scratch_0_,ks=4,vs=16712,off=328) R9=scalar(umin=1) R10=fp0 fp-8=??????mm
154: (79) r1 = *(u64 *)(r10 -32)      ; R1=scalar(id=145461) R10=fp0 fp-32=scalar(id=145461)
155: (27) r1 *= 3                     ; R1=scalar()
158: (55) if r1 != 0x7 goto pc-5      ; R0=0 R1=scalar(id=145462) R2=10 R6=map_value(map=xcap_counts,ks=4,vs=40)
154: (79) r1 = *(u64 *)(r10 -32)
BPF program is too large. Processed 1000001 insn
processed 1000001 insns (limit 1000000) max_states_per_insn 4 total_states 15899 peak_states 15899 mark_read 0

bpf: Argument list too long. Program  too large (317 insns), at most 4096 insns

"""

OLD_KERNEL = """\
bpf: Failed to load program: Permission denied
; int xcap_probe_0(struct bpf_raw_tracepoint_args *ctx)
0: (bf) r6 = r1
R1=ctx(id=0,off=0,imm=0) R10=fp0
from 5 to 9: R0=map_value(id=0,off=0,ks=4,vs=16,imm=0) R6=ctx(id=0,off=0,imm=0) R10=fp0
; u64 linear = tail - hit->start;
R1_w=inv(id=0) R6=ctx(id=0,off=0,imm=0) R10=fp0
41: (71) r1 = *(u8 *)(r2 +300)
invalid access to map value, value_size=256 off=300 size=1
R2 min value is outside of the allowed memory range
processed 40 insns (limit 1000000) max_states_per_insn 0 total_states 3 peak_states 3 mark_read 2

"""


def unit(*sources: Source) -> Unit:
    """A program for each line of each source."""
    spans = [
        source.span(at, at + len(line))
        for source in sources
        for line in source.text.splitlines()
        for at in [source.text.index(line)]
    ]
    attachment = Attachment(HookKind.RAWTRACEPOINT, "kfree_skb")
    programs = [Program(f"xcap_probe_{n}", attachment, span.text.split()[0], span) for n, span in enumerate(spans)]
    return Unit("", tuple(programs), (), (), (), 1)


UNIT = unit(SCRIPT, LIBRARY)


def test_what_clang_says_of_a_script_is_shown_there() -> None:
    with pytest.raises(ScriptError) as caught:
        blame_compiler(UNIT, IN_THE_LIBRARY, died=False)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code is Code.COMPILE
    assert diagnostic.message == "clang says: no member named 'k9' in 'struct xcap_key_0'"
    assert diagnostic.span == LIBRARY.span(0, len(LIBRARY.text))
    assert diagnostic.span.source.imported_at is LIBRARY.imported_at


def test_what_clang_says_is_shown_at_the_clause_of_its_line() -> None:
    with pytest.raises(ScriptError) as caught:
        blame_compiler(UNIT, IN_THE_SCRIPT, died=False)
    assert caught.value.diagnostics[0].span.text == "tx { count(len); }"


def test_the_first_error_is_the_one_that_is_shown() -> None:
    with pytest.raises(ScriptError, match="no member named 'k9'"):
        blame_compiler(UNIT, IN_THE_SCRIPT + IN_THE_SCRIPT.replace("k9", "k8"), died=False)


@pytest.mark.parametrize("log", [IN_OURS, NO_HEADER, ""])
def test_what_is_wrong_in_our_own_text_is_our_fault(log: str) -> None:
    with pytest.raises(CompilerBug, match="the generated program does not compile") as caught:
        blame_compiler(UNIT, log, died=False)
    assert caught.value.log == log


def test_a_compiler_that_died_is_our_fault_too() -> None:
    log = "LLVM ERROR: something\n"
    with pytest.raises(CompilerBug, match="ended without an answer") as caught:
        blame_compiler(UNIT, log, died=True)
    assert caught.value.log == log


@pytest.mark.parametrize("died", [False, True])
def test_a_clause_that_needs_too_much_stack_is_to_be_split(*, died: bool) -> None:
    with pytest.raises(KernelError, match="512 bytes of stack") as caught:
        blame_compiler(UNIT, TOO_MUCH_STACK, died=died)
    assert caught.value.advice is not None
    assert "split" in caught.value.advice
    assert caught.value.log == TOO_MUCH_STACK


def refused(function: str, log: str, reason: str = "Failed to load BPF program b'x': Permission denied") -> KernelError:
    with pytest.raises(KernelError) as caught:
        blame_verifier(UNIT, function, reason, log)
    return caught.value


@pytest.mark.parametrize("function", ["xcap_enter_0", "xcap_turn_0"])
def test_a_program_of_several_functions_is_blamed_for_each(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = replace(UNIT.programs[0], entry="xcap_enter_0", turn="xcap_turn_0"), *UNIT.programs[1:]
    monkeypatch.setattr(f"{__name__}.UNIT", replace(UNIT, programs=programs))
    assert "refused the program for 'rx'" in refused(function, BAD_ACCESS).message


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        (BAD_ACCESS, "invalid bpf_context access off=3200 size=8"),
        (TOO_LONG, "BPF program is too large. Processed 1000001 insn"),
        pytest.param(
            BAD_REGISTER,
            "R1 invalid mem access 'scalar'",
        ),
        pytest.param(
            OLD_KERNEL,
            "R2 min value is outside of the allowed memory range",
        ),
    ],
    ids=["access", "length", "register", "old kernel"],
)
def test_the_verifiers_last_word_is_told(log: str, verdict: str) -> None:
    error = refused("xcap_probe_0", log)
    assert error.message.endswith(f"the kernel's verifier refused the program for 'rx': {verdict}")


@pytest.mark.parametrize("log", [BAD_ACCESS, BAD_REGISTER, TOO_LONG, OLD_KERNEL, ""])
def test_a_refused_program_is_told_by_its_hook_and_the_place_of_its_clause(log: str) -> None:
    error = refused("xcap_probe_1", log)
    assert error.message.startswith("scripts/x.xcap:2: the kernel's verifier refused the program for 'tx'")
    assert error.log == log
    assert error.advice == "see the whole log with -v"


def test_a_program_that_the_verifier_gives_up_is_not_called_too_long() -> None:
    error = refused("xcap_probe_0", TOO_LONG, "Failed to load BPF program b'xcap_probe_0': Argument list too long")
    assert error.message.endswith("for 'rx': BPF program is too large. Processed 1000001 insn")


def test_a_program_of_too_many_instructions_is_to_be_split() -> None:
    error = refused("xcap_probe_0", "", "longer than a jump can cross: 40000 instructions")
    assert error.message == "the program for 'rx' is longer than a jump can cross: 40000 instructions, of at most 32767"
    assert error.advice is not None
    assert "split" in error.advice


def test_a_log_without_a_verdict_leaves_the_reason_out() -> None:
    assert refused("xcap_probe_0", "").message.endswith("for 'rx'")


def test_the_message_is_one_line() -> None:
    for log in (BAD_ACCESS, BAD_REGISTER, TOO_LONG, OLD_KERNEL):
        assert "\n" not in refused("xcap_probe_0", log).message


def test_who_may_not_load_programs_is_told_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blame, "capabilities", frozenset)
    error = refused("xcap_probe_0", "", "Failed to load BPF program b'x': Operation not permitted")
    assert error.message == "the kernel does not let us load the program for 'rx'"
    assert error.advice is not None
    assert error.advice == "CAP_BPF and CAP_PERFMON are missing; see 'xcap --doctor'"


def test_a_mistake_in_c_of_the_script_is_on_its_own_line() -> None:
    text = '// one\nc """\nstatic u64 f(u64 x) {\n    return y;\n}\n"""\nrx { print(f(1)); }'
    source = Source("s.xcap", text)
    start = text.index('"""') + 3
    c_text = source.span(start, text.index('"""', start))
    made = replace(unit(source), c_texts=(c_text,))
    with pytest.raises(ScriptError) as caught:
        blame_compiler(made, "s.xcap:4:12: error: use of undeclared identifier 'y'\n", died=False)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.span.text) == (Code.COMPILE, "return y;")


@pytest.mark.parametrize(
    ("why", "advice"), [("Too many open files", "ulimit -n"), ("Argument list too long", None), ("No space", None)]
)
def test_a_map_that_cannot_be_made_is_the_machines(why: str, advice: str | None) -> None:
    with pytest.raises(KernelError) as error:
        blame_compiler(UNIT, f"could not open bpf map: xcap_map_164, error: {why}\n", died=False)
    assert error.value.message == f"the kernel does not give us a map: {why}"
    assert (advice or "") in (error.value.advice or "")


def test_a_buffer_that_there_is_no_memory_for_can_be_smaller() -> None:
    with pytest.raises(KernelError, match="no memory for the buffer") as error:
        blame_compiler(UNIT, "could not open bpf map: xcap_events, error: Cannot allocate memory\n", died=False)
    assert "--buffer-size" in (error.value.advice or "")


ENDLESS = """\
38: (15) if r0 == 0x0 goto pc+1       ; R0=scalar(umin=1)
39: (55) if r0 != 0x0 goto pc-1       ; R0=scalar(umin=1)
infinite loop detected at insn 39
cur state: R0=scalar(umin=1) R6=map_value(map=xcap_counts,ks=4,vs=72) R10=fp0 fp-8=00000
old state: R0=Pscalar(umin=1) R6=map_value(map=xcap_counts,ks=4,vs=72) R10=fp0 fp-8=00000
processed 41 insns (limit 1000000) max_states_per_insn 0 total_states 4 peak_states 4 mark_read 0
"""

OWN_C = Source(
    "own.xcap",
    'c """\n/* while it lasts\n   for ever */\nstatic u64 f(u64 x)\n{\n    while (x) { }\n    return x;\n}\n"""\n'
    "rx { print(f(1)); }\n",
)


@pytest.mark.parametrize("log", [ENDLESS, TOO_LONG])
def test_a_loop_in_the_scripts_own_c_is_pointed_at(log: str) -> None:
    start, end = OWN_C.text.index('"""') + 3, OWN_C.text.rindex('"""')
    looping = replace(unit(OWN_C), c_texts=(OWN_C.span(start, end),))
    with pytest.raises(ScriptError) as caught:
        blame_verifier(looping, "xcap_probe_0", "", log)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code is Code.COMPILE
    assert "cannot see that this loop ends" in diagnostic.message
    assert diagnostic.span.text == "while (x) { }"
    assert diagnostic.span.line == 6


def test_where_the_script_has_no_loop_it_is_not_blamed_for_one() -> None:
    assert refused("xcap_probe_0", ENDLESS).message.endswith(": infinite loop detected at insn 39")
