"""Compiles xcapscript/native for the wheel, where there is a C compiler; without one the wheel is pure Python, whose
code does the same.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = "xcapscript/native"
LIBRARY = "xcapscript/native/_native.so"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC")


class CustomBuildHook(BuildHookInterface[Any]):
    """hatchling's name for what it calls."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 -- hatchling's signature
        root = Path(self.root)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if not compiler or not shutil.which(compiler[0]):
            (root / LIBRARY).unlink(missing_ok=True)
            self.app.display_warning("no C compiler: packets will be written by Python, which takes ten times as long")
            return
        compile_library(compiler, sorted((root / SOURCES).glob("*.c")), root / LIBRARY)
        build_data["artifacts"].append(LIBRARY)
        build_data["pure_python"] = False
        # It is no Python extension: any Python will do, on this kind of machine.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_library(compiler: list[str], sources: list[Path], library: Path) -> None:
    """Beside its place first: the one that is there may be in use."""
    with tempfile.TemporaryDirectory(dir=library.parent) as directory:
        made = Path(directory, library.name)
        done = subprocess.run([*compiler, *FLAGS, "-o", str(made), *map(str, sources)], check=False)
        if done.returncode:
            sys.exit(f"{library.parent} cannot be compiled by {compiler[0]}")
        made.replace(library)
