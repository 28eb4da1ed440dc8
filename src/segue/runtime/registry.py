"""Finds a flow by its name, from any process: `module:qualname`, plus the file when it was a script."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from ..core.modules import file_of, real_name
from ..errors import UnknownFlow
from ..importing import if_it_fails, imported

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

    from .flow import Flow

_known: dict[tuple[str, int], Flow[..., Any]] = {}


def register(flow: Flow[..., Any]) -> None:
    """Called by the decorator."""
    former = _known.get((flow.name, flow.version))
    _known[flow.name, flow.version] = flow
    if_it_fails(partial(_unregister, flow, former))


def _unregister(flow: Flow[..., Any], former: Flow[..., Any] | None) -> None:
    """Where its module is not there any more: a run would be carried out by what is half made."""
    key, module = (flow.name, flow.version), flow.function.__module__
    if _known.get(key) is not flow or (module in sys.modules and file_of(module) == flow.origin):
        return
    del _known[key]
    if former is not None:
        _known[key] = former


def all_known() -> list[Flow[..., Any]]:
    """Every flow, in each of its versions, that this process has imported."""
    return list(_known.values())


def known(name: str, version: int | None = None) -> Flow[..., Any] | None:
    """The flow of this name in this process: of this version, or the newest one."""
    if version is not None and (name, version) in _known:
        return _known[name, version]
    versions = [v for n, v in _known if n == name]
    return _known[name, max(versions)] if versions and version is None else None


def for_run(name: str, version: int) -> Flow[..., Any] | None:
    """The flow that a run of this version goes on with: its own version, else a newer one that declares `migrate`."""
    own = known(name, version)
    newest = known(name)
    if own is not None or newest is None:
        return own
    return newest if newest.migrate and newest.version > version else None


def find(name: str, origin: str | None = None) -> Flow[..., Any]:
    """The newest flow called `module:qualname`, importing its module. `origin` is the file it was last seen in.

    Raises UnknownFlow naming what could not be imported; UnguardedScript where the module would begin something.
    """
    flow = known(name)
    if flow is not None:
        return flow
    module, _, qualname = name.partition(":")
    if not module or not qualname:
        raise UnknownFlow(f"{name!r} names no flow", remedy="write MODULE:FLOW or FILE.py:FLOW")
    loaded = _load(module, origin)
    flow = known(name) or _attribute(loaded, qualname)
    there = sorted({n for n, _ in _known if n.partition(":")[0] == loaded.__name__})
    if flow is None and not there and origin is not None and Path(origin).is_file():
        flow = _attribute(_from_file(module, origin), qualname)  # a script may have the name of another module
    if flow is None:
        flows = ", ".join(there) or "none"
        raise UnknownFlow(f"module {module} has no flow {qualname!r}; its flows: {flows}", remedy="check the name")
    return flow


def module_of(function: Callable[..., Any]) -> tuple[str, str | None]:
    """The importable name of a function's module, and its file. A script's name is that of its file."""
    return real_name(function.__module__), file_of(function.__module__)


def revision_of(function: Callable[..., Any]) -> str:
    """The hash of the code a flow is made of: its module's source, or its bytecode where there is none."""
    return _file_hash(function.__code__.co_filename) or _code_hash(function.__code__)


@lru_cache(maxsize=1024)
def _file_hash(filename: str) -> str | None:
    try:
        return blake2b(Path(filename).read_bytes(), digest_size=8).hexdigest()
    except OSError:
        return None


def _code_hash(code: CodeType) -> str:
    digest = blake2b(code.co_code, digest_size=8)
    for constant in code.co_consts:
        digest.update((_code_hash(constant) if isinstance(constant, CodeType) else repr(constant)).encode())
    return digest.hexdigest()


def _load(module: str, origin: str | None) -> ModuleType:
    if module.endswith(".py"):
        return _from_file(Path(module).stem, module)
    try:
        return imported(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there: something that it imports is not
        if origin is not None and Path(origin).is_file():
            return _from_file(module, origin)
        raise UnknownFlow(
            f"module {module!r} cannot be imported: {error}",
            remedy="run the command in the folder of the module, install it, or add its folder to PYTHONPATH",
        ) from error


def _from_file(name: str, file: str) -> ModuleType:
    path = Path(file).resolve()
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UnknownFlow(f"{file} is no Python file", remedy="write MODULE:FLOW or FILE.py:FLOW")
    return imported(name, partial(_executed, spec, spec.loader, str(path.parent)))


def _executed(spec: ModuleSpec, loader: Loader, folder: str) -> ModuleType:
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _attribute(module: ModuleType, qualname: str) -> Flow[..., Any] | None:
    from .flow import Flow  # noqa: PLC0415  a cycle: flows register themselves here

    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return cast("Flow[..., Any]", found) if isinstance(found, Flow) else None
