"""What no kernel loads is refused in the script's own words, and what lies just below it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcapscript.codegen.generate import Options
from xcapscript.compiler import compile_script
from xcapscript.diagnostics import ScriptError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.sema.analyse import Settings
from xcapscript.source import Source
from xcapscript.unit import Unit

KERNEL = FrozenKernel(Path(__file__).parents[2] / "data" / "kernel" / "linux-6.18.json")


def compiled(text: str) -> Unit:
    return compile_script(Source("case", text), default_library({}), KERNEL, Settings(), Options()).unit


def maps(count: int) -> str:
    return "".join(f"@m{number}[pid] = count(); @m{number}[cpu] = count(); " for number in range(count))


def filled(count: int) -> str:
    return "".join(f"begin {{ @m{number}[1] = 1; }} " for number in range(count))


def asked(count: int) -> str:
    return " ".join(f"print(has(@m{number}[1]));" for number in range(count))


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (f"{filled(60)} rx {{ {asked(59)} }}", f"{filled(60)} rx {{ {asked(60)} }}", "uses 60 maps"),
        (f"rx {{ {maps(59)} }}", f"rx {{ {maps(60)} }}", "uses 60 maps"),
        (f"rx {{ {maps(40)} }} tx {{ {maps(59)} }}", f"rx {{ }} tx {{ {maps(61)} }}", "uses 61 maps"),
        (f"rx {{ print({'kstack(127), ' * 29}1); }}", f"rx {{ print({'kstack(127), ' * 40}1); }}", "memory"),
        (
            f"rx {{ dump; print({'kstack(127), ' * 10}1); }}",
            f"rx {{ dump; print({'kstack(127), ' * 20}1); }}",
            "memory",
        ),
    ],
)
def test_the_kernels_limits_are_told(good: str, bad: str, said: str) -> None:
    assert compiled(good).programs
    with pytest.raises(ScriptError, match=said) as error:
        compiled(bad)
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.span.text.startswith(("rx", "tx"))


def test_many_numbers_do_not_lie_on_the_stack() -> None:
    variables = "".join(f"$v{number} = pid + {number}; " for number in range(40))
    text = compiled(f"begin {{ {variables} print({', '.join(f'$v{number}' for number in range(40))}); }}").text
    assert sum(f"u64 v{number} = 0;" in text for number in range(40)) == 16


def test_what_functions_call_twice_each_is_refused_before_it_is_endless() -> None:
    functions = "".join(f"fn f{n}() {{ return f{n + 1}() + f{n + 1}(); }}" for n in range(30))
    with pytest.raises(ScriptError, match="more than 1000 times"):
        compiled(f"{functions} fn f30() {{ return 1; }} begin {{ print(f0()); }}")


@pytest.mark.parametrize(
    "condition", ["reason == arg2", "arg2 == reason", "sk.state != reason", "reason == NO_SOCKET", "NO_SOCKET == arg2"]
)
def test_a_value_beside_an_enum_is_no_name_of_it(condition: str) -> None:
    assert compiled(f"drop {{ if ({condition}) {{ count; }} }}").programs


@pytest.mark.parametrize("name", ["hit", "v0", "t12", "record"])
def test_a_c_function_that_a_variable_would_hide_is_refused(name: str) -> None:
    with pytest.raises(ScriptError, match="has a variable called"):
        compiled(f'c """static u64 {name}(u64 x) {{ return x; }}""" begin {{ print({name}(1)); }}')
    assert compiled(f'c """static u64 my_{name}(u64 x) {{ return x; }}""" begin {{ print(my_{name}(1)); }}').programs
