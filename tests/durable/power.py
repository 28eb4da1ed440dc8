"""A power cut, played from a log of what a process did to its files (shim.c).

What survives is what was synced: a file's bytes up to its last fsync, and a name once its folder was synced after it.
Everything else may be lost; the worst case loses all of it, a random one any part.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
ACKS = "ACKS"
"""The file into which a workload writes what it was told: one line an acknowledgement."""
Chance = Callable[[], bool]


class Act(NamedTuple):
    """One record of the log. `a` and `b` are inodes, offsets, sizes or paths, as shim.c says."""

    kind: str
    a: str
    b: str = ""
    data: bytes = b""


@dataclass
class Node:
    """A file or a folder: what is on the disk, and what only the kernel knows yet."""

    folder: bool = False
    data: bytearray = field(default_factory=bytearray)
    pending: list[Act] = field(default_factory=list[Act])
    names: dict[str, int] = field(default_factory=dict[str, int])
    """Of a folder: the names that are on the disk."""


class Disk:
    """The files below a root, as they would be after a power cut."""

    def __init__(self, root: str):
        self.root = root
        self.nodes: dict[int, Node] = {0: Node(folder=True)}
        self._at: dict[str, int] = {root: 0}

    def do(self, act: Act) -> None:
        """One record of the log."""
        match act.kind:
            case "C" | "M":
                self.nodes[int(act.a)] = Node(folder=act.kind == "M")
                self._at[act.b] = int(act.a)
                self._parent(act.b).pending.append(act)
            case "W" | "T":
                self.nodes.setdefault(int(act.a), Node()).pending.append(act)
            case "R":
                self._at[act.b] = self._at.pop(act.a)
                self._parent(act.b).pending.append(act._replace(data=str(self._at[act.b]).encode()))
            case "U":
                self._at.pop(act.a, None)
                self._parent(act.a).pending.append(act)
            case _:
                node = self.nodes.get(int(act.a)) or self.nodes[0]
                _settle(node, lambda: True)
                node.pending.clear()

    def rebuild(self, target: Path, survives: Chance) -> None:
        """Write what is left after a power cut; `survives` decides of what was not synced."""
        self._write(self.nodes[0], target, survives)

    def _write(self, node: Node, target: Path, survives: Chance) -> None:
        left = Node(node.folder, bytearray(node.data), node.pending, dict(node.names))
        _settle(left, survives)
        if not node.folder:
            target.write_bytes(left.data)
            return
        target.mkdir(exist_ok=True)
        for name, inode in left.names.items():
            self._write(self.nodes[inode], target / name, survives)

    def _parent(self, path: str) -> Node:
        return self.nodes[self._at[os.path.dirname(path)]]


def _settle(node: Node, survives: Chance) -> None:
    for act in node.pending:
        if not survives():
            continue
        if act.kind == "W":
            at = int(act.b)
            node.data.extend(bytes(max(0, at - len(node.data))))
            node.data[at : at + len(act.data)] = act.data
        elif act.kind == "T":
            size = int(act.b)
            node.data = node.data[:size] + bytes(max(0, size - len(node.data)))
        elif act.kind in "CM":
            node.names[os.path.basename(act.b)] = int(act.a)
        elif act.kind == "R":
            node.names.pop(os.path.basename(act.a), None)
            node.names[os.path.basename(act.b)] = int(act.data)
        else:
            node.names.pop(os.path.basename(act.a), None)


def read(log: Path, root: str) -> Iterator[Act]:
    """The records of a log, those of the root itself as inode 0."""
    with log.open("rb") as lines:
        while line := lines.readline():
            kind, _, rest = line.decode().rstrip("\n").partition(" ")
            if kind == "W":
                inode, offset, size = rest.split()
                yield Act(kind, inode, offset, lines.read(int(size)))
            elif kind == "R":
                yield Act(kind, *rest.split("\t"))
            else:
                yield Act(kind, *rest.split(" ", 1))


def cuts(log: Path, root: str, every: int = 1) -> Iterator[tuple[Disk, list[str]]]:
    """The disk right after each `every`-th acknowledgement, and all acknowledgements so far."""
    disk, acks, marks = Disk(root), list[str](), -1
    for act in read(log, root):
        if act.kind == "C" and act.b.endswith(f"/{ACKS}"):
            marks = int(act.a)
        elif act.kind == "W" and int(act.a) == marks:
            acks += act.data.decode().splitlines()
            if len(acks) % every == 0:
                yield disk, acks
        else:
            disk.do(act)
    yield disk, acks


def worst() -> bool:
    """Nothing survives that was not synced."""
    return False


def any_part(seed: int) -> Chance:
    """A random half of what was not synced survives."""
    chance = random.Random(seed)
    return lambda: chance.random() < 0.5


def shim(folder: Path) -> Path:
    """The compiled shim. Skips the test where there is no C compiler."""
    compiler = which("cc") or which("gcc") or which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("this test needs a C compiler and Linux")
    built = folder / "shim.so"
    source = str(HERE / "shim.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(built), source, "-ldl", "-lpthread"], check=True)
    return built
