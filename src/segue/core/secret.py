"""`Secret[T]`: what a flow needs but a viewer must not see.

In memory it is a value behind `reveal()`. In the journal it is a sealed envelope, `{"$sealed": {…}}`, made with a key
of the run's tenant: destroying that key is erasure. Who seals and opens is the `Sealer` of the current context, which
the runtime sets around what it encodes and decodes, so nothing here is global.

Sealing is deterministic (a synthetic IV, RFC 5297): the same value, sealed with the same key, gives the same envelope.
So a call's arguments keep their fingerprint over replays, since that is taken of the envelope and never of the value.
The price: who reads the database sees which values of a tenant are equal, and their length in steps of 32 bytes.

A value whose key is gone still decodes, to a Secret that keeps its envelope: a replay that only passes it on goes on as
before. Revealing it raises SecretErased in a step; in a flow it sets the run aside, since a flow that could catch it
would make other calls than it has recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, Self, TypeVar, cast, get_args

from ..errors import SecretError, SecretUnreadable
from .codec import JOURNAL, canonical, codec, dumps
from .plain import plain
from .redaction import MASK, SEALED, envelope_of

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core.core_schema import CoreSchema

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_BLOCK = 32


class Sealer(Protocol):
    """Seals and opens for one tenant."""

    @property
    def tenant(self) -> str:
        """Whose key it uses."""
        ...

    def seal(self, plaintext: bytes) -> dict[str, str]:
        """The envelope of a value, the same each time. It names its `tenant` and `key`."""
        ...

    def open(self, envelope: Mapping[str, Any]) -> bytes:
        """The value of an envelope. Raises SecretErased, or SecretUnreadable."""
        ...

    def refused(self, error: SecretError) -> BaseException:
        """What to raise where a value is revealed that cannot be had."""
        ...


_sealer: ContextVar[Sealer | None] = ContextVar("segue_sealer", default=None)

use = _sealer.set


class using:  # noqa: N801  it is used like a function
    """Seal and open with this one, within the block."""

    __slots__ = ("_sealer", "_token")

    def __init__(self, sealer: Sealer | None):
        self._sealer = sealer

    def __enter__(self) -> None:
        self._token = _sealer.set(self._sealer)

    def __exit__(self, *_: object) -> None:
        _sealer.reset(self._token)


class Secret(Generic[T_co]):
    """A value that is shown as `•••` and stored sealed. `Secret[str]` may stand in any annotation.

    Where one is expected, a plain value is taken too. Two are equal when their values are. It cannot be pickled.
    """

    __slots__ = ("_envelope", "_error", "_value")

    def __init__(self, value: T_co):
        self._value: Any = value
        self._envelope: Mapping[str, Any] | None = None
        self._error: SecretError | None = None

    def reveal(self) -> T_co:
        """The value. Raises SecretErased when its key was destroyed, SecretUnreadable when it cannot be opened here."""
        if self._error is None:
            return self._value
        sealer = _sealer.get()
        raise self._error if sealer is None else sealer.refused(self._error)

    @property
    def readable(self) -> bool:
        """Whether `reveal` gives a value."""
        return self._error is None

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self._error is not None or other._error is not None:
            return self._envelope is not None and self._envelope == other._envelope
        return bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash((Secret, str(self._envelope) if self._error is not None else self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass it as it is, or reveal it")

    def __segue_seal__(self) -> Mapping[str, Any]:
        """Its sealed form, where no annotation says that it is a Secret."""
        return _seal(self, plain)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's view: validated as T, dumped sealed into the journal and masked everywhere else."""
        from pydantic_core import core_schema  # noqa: PLC0415  pydantic is loaded by now, and not before

        args = get_args(source)
        inner = handler.generate_schema(args[0]) if args else core_schema.any_schema()
        of = args[0] if args and not isinstance(args[0], TypeVar) else Any
        return core_schema.with_info_wrap_validator_function(
            partial(_check, of),
            inner,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                partial(_dump, of), schema=inner, info_arg=True
            ),
            metadata={"segue": "secret"},
        )


def revive(value: Any) -> Any:
    """A JSON value with its envelopes opened: for what has no annotation."""
    envelope = envelope_of(value)
    if envelope is not None:
        return _open(envelope, partial(_read, Any))
    if isinstance(value, dict):
        return {k: revive(v) for k, v in cast("dict[str, Any]", value).items()}
    return [revive(v) for v in cast("list[Any]", value)] if isinstance(value, list) else value


def _check(of: Any, value: Any, handler: Any, info: Any) -> Secret[Any]:
    """Pydantic's validator. Its errors do not show the value."""
    if isinstance(value, Secret):
        given = cast("Secret[Any]", value)
        return given if given._error is not None else _validated(given._value, handler, given)  # pyright: ignore[reportPrivateUsage]
    envelope = envelope_of(value)
    if envelope is not None:
        return _open(envelope, partial(_read, of))
    if value == MASK:
        _refuse("a masked value is not the value: it cannot be read back")
    return _validated(value, handler)


def _read(of: Any, text: bytes) -> Any:
    """An opened value as JSON, which a strict type reads otherwise than Python's own values."""
    try:
        return codec(of).decode(text)
    except ValueError:
        _refuse("the sealed value does not fit its type")


def _fitted(handler: Any, value: Any) -> Any:
    try:
        return handler(value)
    except ValueError:
        _refuse("the secret value does not fit its type")


def _validated(value: Any, handler: Any, given: Secret[Any] | None = None) -> Secret[Any]:
    valid = _fitted(handler, value)
    made = Secret(valid)
    if given is not None and valid == value:
        made._envelope = given._envelope  # pyright: ignore[reportPrivateUsage]
    return made


def _refuse(why: str) -> NoReturn:
    from pydantic_core import PydanticCustomError  # noqa: PLC0415  pydantic is loaded by now, and not before

    raise PydanticCustomError("secret", cast("Any", why)) from None


def _dump(of: Any, value: Any, handler: Any, info: Any) -> Any:
    """Pydantic's serializer."""
    if info.context is not JOURNAL:
        return MASK
    return _seal(value, partial(_jsonable, of, handler))


def _jsonable(of: Any, handler: Any, value: Any) -> Any:
    """As the type's own codec writes it, which is what reads it again."""
    return plain(handler(value), marks=True) if of is Any else json.loads(codec(of).encode(value))


def _seal(secret: Secret[Any], jsonable: Callable[[Any], Any]) -> Mapping[str, Any]:
    sealer, envelope = _sealer.get(), secret._envelope  # pyright: ignore[reportPrivateUsage]
    if envelope is not None and (sealer is None or envelope.get("tenant") == sealer.tenant):
        return {SEALED: envelope}
    if sealer is None:
        raise SecretError(
            "there is no key here to seal a secret with",
            remedy="encode it within a run; elsewhere use `with segue.core.secret.using(sealer):`",
        )
    text = canonical(dumps({"": jsonable(secret.reveal())}))[4:-1]
    made = sealer.seal(text + b" " * (-len(text) % _BLOCK))
    secret._envelope = made  # pyright: ignore[reportPrivateUsage]
    return {SEALED: made}


def _open(envelope: Mapping[str, Any], read: Callable[[bytes], Any]) -> Secret[Any]:
    sealer = _sealer.get()
    made = Secret[Any](None)
    made._envelope = envelope  # pyright: ignore[reportPrivateUsage]
    try:
        if sealer is None:
            raise SecretUnreadable(
                "a sealed value was read outside of an engine", remedy="read it with engine.get(run), or in its flow"
            )
        made._value = read(sealer.open(envelope))  # pyright: ignore[reportPrivateUsage]
    except SecretError as error:
        made._error = error  # pyright: ignore[reportPrivateUsage]
    return made
