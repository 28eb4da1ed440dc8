"""The server that programs are forked from: `python -m tests.forked.server SOCKET PID`. It ends with that process."""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.forked import warm

TURN_S = 0.005
LOOK_S = 0.5


def main(at: str, outlived: int) -> None:
    """Fork a program for each who calls, and tell each how theirs has ended, as long as a process is there."""
    assert warm.READY
    door = socket.socket(socket.AF_UNIX)
    door.bind(at)
    door.listen(64)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    callers: dict[int, socket.socket] = {}
    while callers or Path(f"/proc/{outlived}").exists():
        if select.select([door], [], [], TURN_S if callers else LOOK_S)[0]:
            caller = door.accept()[0]
            callers[_forked(caller, door)] = caller
        while callers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            with callers.pop(pid) as caller, contextlib.suppress(OSError):
                caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    shutil.rmtree(Path(at).parent, ignore_errors=True)


def _forked(caller: socket.socket, door: socket.socket) -> int:
    """The pid of a program that was asked for."""
    _, fds, _, _ = socket.recv_fds(caller, 1, 3)
    with caller.makefile(encoding="utf-8") as lines:
        asked = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            door.close()
            caller.close()
            code = _run(asked, fds)
        finally:
            os._exit(code)
    for fd in fds:
        os.close(fd)
    caller.sendall(f"{pid}\n".encode())
    return pid


def _run(asked: dict[str, Any], fds: list[int]) -> int:
    """In the program's process: as Python would run it, to its exit code."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(3, 256)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    gc.unfreeze()
    code = 0
    try:
        _main(asked["how"], asked["what"], asked["args"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  as Python does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _main(how: str, what: str, args: list[str]) -> None:
    sys.argv = [what, *args]
    if how == "module":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif how == "file":
        sys.path.insert(0, str(Path(what).parent))
        runpy.run_path(what, run_name="__main__")
    else:
        sys.argv = ["-c", *args]
        sys.path.insert(0, "")
        sys.modules["__main__"] = fresh = ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), vars(fresh))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
