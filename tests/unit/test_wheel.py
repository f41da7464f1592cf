"""The wheel has all that is needed and nothing else, and works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIST_INFO = f"{PROJECT['name']}-{PROJECT['version']}.dist-info"
DATA = {"stdlib": ("_stdlib", {".xcap"}), "bpf": ("_bpf", {".c", ".h"})}
"""Directories beside the package: what they are called in the wheel, and what their files end in."""

LICENCES = {"bpf/COPYING", "bpf/LICENSE"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = directory.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel's content, as pip would put it into site-packages."""
    directory = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def expected() -> set[str]:
    """The package's files, and those beside it by their names in the wheel."""
    package = ROOT / PROJECT["name"]
    patterns = ("*.py", "*.lark", "*.[ch]", "py.typed", "_native.so")
    found = {path.relative_to(ROOT).as_posix() for pattern in patterns for path in package.rglob(pattern)}
    for directory, (name, suffixes) in DATA.items():
        for path in (ROOT / directory).rglob("*"):
            relative = path.relative_to(ROOT).as_posix()
            if path.suffix in suffixes or relative in LICENCES:
                found.add(f"{PROJECT['name']}/{name}{relative.removeprefix(directory)}")
    return found


def test_the_wheel_has_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(f"{DIST_INFO}/")}
    assert names == expected()


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"{DIST_INFO}/METADATA").decode())
        entries = archive.read(f"{DIST_INFO}/entry_points.txt").decode()
        licences = {name.partition("/licenses/")[2] for name in archive.namelist() if "/licenses/" in name}
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert metadata["License-Expression"] == PROJECT["license"]
    assert licences == set(PROJECT["license-files"])
    assert entries.split("[console_scripts]")[1].split("[")[0].split() == ["xcap", "=", PROJECT["scripts"]["xcap"]]
    assert "[pygments.lexers]" in entries


def test_no_package_of_pypi_is_wanted_that_is_called_bcc(wheel: Path) -> None:
    """That is another project: BCC's bindings come from the distribution."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"{DIST_INFO}/METADATA").decode())
    wanted = metadata.get_all("Requires-Dist") or []
    assert wanted
    assert not [requirement for requirement in wanted if requirement.startswith("bcc")]


def run(installed: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python from / with the installed copy alone, which goes before any other."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(installed)}
    line = [sys.executable, "-B", "-c", code, *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, cwd="/", env=environment)


def xcap(installed: Path, *arguments: str) -> tuple[int, str, str]:
    """What the console script does."""
    module, _, function = PROJECT["scripts"]["xcap"].partition(":")
    done = run(installed, f"from {module} import {function}; {function}()", *arguments)
    return done.returncode, done.stdout, done.stderr


def test_the_installed_copy_is_the_one_that_runs(installed: Path) -> None:
    code = (
        "from xcapscript import resources as r; print(r.__file__, r.stdlib_directory(), r.bpf_directory(), sep='\\n')"
    )
    package = installed / "xcapscript"
    assert run(installed, code).stdout.splitlines() == [
        str(package / "resources.py"),
        str(package / "_stdlib"),
        str(package / "_bpf"),
    ]


def test_no_module_comes_from_the_checkout(installed: Path) -> None:
    code = """
import sys
from xcapscript.cli.main import run_command
run_command(["--check", "-e", "begin { exit; }"], sys.stderr)
ours = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "xcapscript"]
print(len(ours) > 20, [path for path in ours if not path.startswith(sys.argv[1])])
"""
    assert run(installed, code, str(installed)).stdout == "True []\n"


def test_the_installed_copy_knows_its_version(installed: Path) -> None:
    assert xcap(installed, "--version") == (0, f"xcap {PROJECT['version']}\n", "")


def test_the_installed_copy_writes_programs(installed: Path) -> None:
    status, out, err = xcap(installed, "--dump", "c", "-e", 'begin { printf("%d\\n", pid); exit; }')
    assert (status, err) == (0, "")
    assert "int xcap_probe_0(void *ctx)" in out


def test_the_headers_of_a_written_program_are_installed(installed: Path) -> None:
    _, out, _ = xcap(installed, "--dump", "c", "-e", "begin { exit; }")
    headers = [line.split("<")[1].rstrip(">") for line in out.splitlines() if line.startswith("#include <xcap/")]
    assert headers
    assert [name for name in headers if not (installed / "xcapscript/_bpf/include" / name).is_file()] == []


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="the running kernel has no BTF")
def test_the_installed_copy_checks_its_own_library_and_a_program_that_uses_it(installed: Path) -> None:
    library = installed / "xcapscript" / "_stdlib" / "drop.xcap"
    assert xcap(installed, "--check", str(library)) == (0, "", "")
    program = 'import "drop"; drop, rx /tcp port 80/ { dump; count(ifname); }'
    assert xcap(installed, "--check", "-e", program) == (0, "", "")
