"""The local model: llama.cpp in this process, one server per model, shared by all.

Nothing of it is imported and no weights are read before the first call. A call runs in a thread of its own, off the
event loop; when it is cancelled the model stops at its next token. At the interpreter's exit calls are told to stop,
and waited for. A model that is still at work then (it may be reading a long prompt, where nothing can stop it) is left
to the operating system, so that an exit neither hangs nor crashes.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import importlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from .catalogue import LocalModel, local_model
from .cores import threads
from .errors import ContextTooLong, LocalExtraMissing, ModelError, ModelFailed
from .places import weights_of
from .records import Completion, Request
from .render import chat_body, text_body

SLOTS = 2
"""Prompts that a model keeps in memory, so that two kinds of calls do not read theirs anew in turns."""
_EXIT_S = 5.0
"""How long an exit waits for calls to end. A token takes some hundredths of a second, and more on a busy machine."""


async def complete(request: Request) -> Completion:
    """Call a local model.

    Raises UnknownModel, WeightsMissing, LocalExtraMissing, ContextTooLong or ModelFailed. Cancelling the await stops
    the model at its next token.
    """
    model, loop = local_model(request.model), asyncio.get_running_loop()
    done: asyncio.Future[Completion] = loop.create_future()
    call = _Call(model, request)
    call.start(lambda: loop.call_soon_threadsafe(_settle, done, call))
    try:
        return await done
    except asyncio.CancelledError:
        call.stop()
        raise


def loaded() -> list[str]:
    """The names of the models in this process's memory."""
    return sorted(_servers)


def unload() -> None:
    """Stop all calls and free the models' memory. What is still at work after five seconds stays."""
    deadline = time.monotonic() + _EXIT_S
    try:
        for call in list(_calls):
            call.stop()
        for call in list(_calls):
            call.join(max(0.0, deadline - time.monotonic()))
    finally:  # somebody may press Ctrl-C once more
        if _calls:
            _leave_at_work()
        _servers.clear()


def _leave_at_work() -> None:
    """See that neither Python nor C destroys, at the end of the process, what a model at work still uses."""
    for server in _servers.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # of glibc: what is registered last is called first, with the exit code
        libc.fflush(None)
        libc.on_exit(libc._exit, None)


class _Call:
    """One call in its own daemon thread. `result` is set when it has ended: a completion, or an error."""

    def __init__(self, model: LocalModel, request: Request):
        self.result: Completion | ModelError | None = None
        self._model, self._request = model, request
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None

    def start(self, ended: Callable[[], object]) -> None:
        """Run it; `ended` is called in its thread."""
        self._thread = threading.Thread(target=self._run, args=(ended,), name=f"model-{self._model.name}", daemon=True)
        _calls.add(self)
        self._thread.start()

    def stop(self) -> None:
        """End it at the next token."""
        self._stopped.set()

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, ended: Callable[[], object]) -> None:
        try:
            self.result = self._complete()
        except ModelError as error:
            self.result = error
        except Exception as error:  # noqa: BLE001  whatever a native library raises is one kind of fault
            self.result = ModelFailed(f"{self._model.name}: {type(error).__name__}: {error}")
        finally:
            _calls.discard(self)
            _quietly(ended)

    def _complete(self) -> Completion:
        return _read(self._model, self._chunks(), time.monotonic() - self._began)

    def _chunks(self) -> list[dict[str, Any]]:
        """What the model writes. No traceback may hold its server: it would be destroyed with the interpreter."""
        server = _server(self._model)
        chat = (self._request.style or self._model.style) == "chat"
        handle = server.handle_chat_completions if chat else server.handle_completions
        chunks: list[dict[str, Any]] = []
        try:
            body = chat_body(self._request) if chat else text_body(self._request)
            with _gate:
                if self._stopped.is_set():
                    raise ModelFailed(f"{self._model.name}: the call was given up")
                handle(body | {"stream": True, "stream_options": {"include_usage": True}}, self._taker(chunks))
        finally:
            del server, handle
        return chunks

    def _taker(self, chunks: list[dict[str, Any]]) -> Callable[[dict[str, Any]], bool]:
        """Collects what the model writes; returning True stops it."""

        def take(chunk: dict[str, Any]) -> bool:
            chunks.append(chunk)
            return self._stopped.is_set()

        return take


def _settle(done: asyncio.Future[Completion], call: _Call) -> None:
    if done.done():
        return
    if isinstance(call.result, Completion):
        done.set_result(call.result)
    else:
        done.set_exception(call.result or ModelFailed("the call ended without a result"))


def _quietly(ended: Callable[[], object]) -> None:
    try:
        ended()
    except RuntimeError:  # the event loop is closed: nobody waits any more
        return


def _read(model: LocalModel, chunks: list[dict[str, Any]], seconds: float) -> Completion:
    """Join the chunks of a stream: its text, how it ended, its usage."""
    text, finish, usage = "", "", dict[str, Any]()
    for chunk in chunks:
        if "error" in chunk:
            raise _refusal(model, chunk["error"])
        for choice in chunk.get("choices", ()):
            text += choice.get("text") or choice.get("delta", {}).get("content") or ""
            finish = choice.get("finish_reason") or finish
        usage = chunk.get("usage") or usage
    if not finish:
        raise ModelFailed(f"{model.name}: the output broke off after {len(chunks)} chunks")
    details: dict[str, int] = usage.get("prompt_tokens_details") or {}
    return Completion(
        text=text.strip(),
        model=model.name,
        tokens_in=usage.get("prompt_tokens", 0),
        tokens_out=usage.get("completion_tokens", 0),
        tokens_cached=details.get("cached_tokens", 0),
        finish=finish,
        seconds=round(seconds, 3),
    )


def _refusal(model: LocalModel, error: dict[str, Any]) -> ModelError:
    if error.get("type") == "exceed_context_size_error":
        return ContextTooLong(
            f"{model.name}: the request has {error.get('n_prompt_tokens')} tokens, its window {error.get('n_ctx')}",
            remedy="shorten the input, give fewer examples, or choose a model with a larger window",
        )
    return ModelFailed(f"{model.name}: {error.get('message', error)}")


def _server(model: LocalModel) -> Any:
    """The model's server, loaded at the first call."""
    with _loading:
        if model.name not in _servers:
            _servers[model.name] = _load(model)
        return _servers[model.name]


def _load(model: LocalModel) -> Any:
    path = weights_of(model)
    try:
        llama: Any = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise LocalExtraMissing(
            f"{model.name} runs in this process and needs the package xllamacpp: {error}",
            remedy="pip install 'segue[local]'",
        ) from error
    params = llama.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = model.window * SLOTS, SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads()
    params.verbosity, params.warmup, params.fit_params = -1, False, False
    params.swa_full = True  # a sliding window's cache in full: without it no prefix is reused
    # The library listens on a loopback port of its own choice: nobody without this key gets an answer there.
    params.port, params.hostnames, params.api_keys, params.ui = 0, ["127.0.0.1"], [secrets.token_hex(16)], False
    return llama.Server(params)


_servers: dict[str, Any] = {}
_calls: set[_Call] = set()
_loading = threading.Lock()
_gate = threading.Lock()
"""One call computes at a time: the threads of two models would only wait for each other's cores."""
atexit.register(unload)
