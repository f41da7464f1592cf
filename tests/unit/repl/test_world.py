from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xcapscript.errors import KernelError
from xcapscript.kernel.frozen import FrozenKernel
from xcapscript.library import default_library
from xcapscript.repl import world
from xcapscript.repl.world import Facts, files_beginning, hooks_by_kind, library_doc, symbols_of

ROOT = Path(__file__).parents[3]
KERNEL = FrozenKernel(ROOT / "tests" / "data" / "kernel" / "linux-6.18.json")
LIBRARY = default_library({})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n10.0.0.1 router gw # the way out\n")
    (tmp_path / "services").write_text("ssh 22/tcp\nhttp 80/tcp www\n# nothing 1/tcp\n")
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "blue").write_text("")
    for name in ("hosts", "services"):
        monkeypatch.setattr(world, name.upper(), tmp_path / name)
    monkeypatch.setattr(world, "NAMESPACES", tmp_path / "netns")
    monkeypatch.setattr(world, "own_interfaces", lambda: frozenset({"lo", "eth0"}))
    return tmp_path


@pytest.mark.usefixtures("machine")
def test_what_can_be_named_is_read_in_a_thread() -> None:
    facts = Facts(KERNEL, LIBRARY)
    assert not facts.world((), ()).hooks
    facts.read()
    facts.wait()
    found = facts.world(["@m", "@m", "@n"], ["1"])
    assert found.hosts == ("gw", "localhost", "router")
    assert found.services == ("http", "ssh")
    assert found.interfaces == ("eth0", "lo")
    assert found.namespaces == ("blue",)
    assert (found.maps, found.jobs) == (("@m", "@n"), ("1",))
    assert found.hooks["rawtracepoint"].like("kfree_s")[0] == "kfree_skb"
    assert found.hooks["tracepoint"].like("skb:kfree_skb") == ["skb:kfree_skb"]


def test_files_that_are_not_there_are_no_names(machine: Path) -> None:
    for path in (machine / "hosts", machine / "services"):
        path.unlink()
    facts = Facts(KERNEL, LIBRARY)
    facts.read()
    facts.wait()
    assert facts.hosts == facts.services == ()


def test_a_kernel_that_cannot_be_asked_has_no_hooks() -> None:
    class Mute(FrozenKernel):
        def raw_tracepoints(self) -> Any:
            raise KernelError("no BTF")

        def attaches(self, kind: str) -> bool:
            raise KernelError(f"no {kind}")

    assert hooks_by_kind(Mute(ROOT / "nowhere"), LIBRARY) == {}


def test_paths_are_completed(tmp_path: Path) -> None:
    for name in ("one.xcap", "other", ".hidden"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    assert files_beginning(f"{tmp_path}/o") == [f"{tmp_path}/one.xcap", f"{tmp_path}/other"]
    assert files_beginning(f"{tmp_path}/f") == [f"{tmp_path}/folder/"]
    assert files_beginning(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert len(files_beginning(f"{tmp_path}/")) == 3
    assert files_beginning("/nowhere/x") == []


def test_a_program_has_functions_and_what_is_none_has_not() -> None:
    assert symbols_of("/nowhere") == ()
    assert len(symbols_of("libc")) > 100


def test_a_library_says_what_it_is() -> None:
    assert library_doc(LIBRARY, "drop") == "a packet is thrown away, and the kernel says why (reason)."
    assert library_doc(LIBRARY, "nothing") == ""
