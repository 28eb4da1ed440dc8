"""Seals and opens secrets with a tenant's key, and keeps them out of error texts."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ..core.faults import Fault
from ..core.redaction import MASK
from ..errors import MissingExtra, SecretError, SecretUnreadable
from .keyring import Key, Keyring, unopened

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

ALGORITHM = "aes-256-siv"
_SHORTEST = 4


class Vault:
    """Seals and opens for one tenant with AES-256-SIV (RFC 5297). The runtime has one for each run.

    An envelope is bound to its tenant and its key: it cannot be passed off as another's.
    """

    def __init__(self, keyring: Keyring, tenant: str, refuse: Callable[[SecretError], BaseException] | None = None):
        self.tenant, self._keyring, self._refuse = tenant, keyring, refuse
        self._seen: set[str] = set()

    def seal(self, plaintext: bytes) -> dict[str, str]:
        """The envelope of a value."""
        key = self._keyring.current(self.tenant)
        data = _cipher(key).encrypt(plaintext, self._bound(key.id))
        self._see(plaintext)
        return {"alg": ALGORITHM, "tenant": self.tenant, "key": key.id, "data": b64encode(data).decode()}

    def open(self, envelope: Mapping[str, Any]) -> bytes:
        """The value of an envelope. Raises SecretErased or SecretUnreadable."""
        tenant, key_id = str(envelope.get("tenant")), str(envelope.get("key"))
        if tenant != self.tenant:
            raise unopened(
                SecretUnreadable, tenant, key_id, f"it was sealed for tenant {tenant!r}, and this is {self.tenant!r}",
                "a tenant's secrets are opened in its own runs",
            )  # fmt: skip
        if envelope.get("alg") != ALGORITHM:
            raise unopened(SecretUnreadable, tenant, key_id, "a later Segue sealed it", "upgrade: pip install -U segue")
        key = self._keyring.find(tenant, key_id)
        cipher = _cipher(key)
        try:
            plaintext = cipher.decrypt(b64decode(str(envelope.get("data")), validate=True), self._bound(key_id))
        except Exception as error:  # InvalidTag, or no base64: the library is not imported here
            raise unopened(
                SecretUnreadable, tenant, key_id, "its envelope is damaged", "restore the database from a copy"
            ) from error
        self._see(plaintext)
        return plaintext

    def with_refusal(self, refuse: Callable[[SecretError], BaseException]) -> Vault:
        """The same vault, which answers a refused reveal in another way."""
        made = Vault(self._keyring, self.tenant, refuse)
        made._seen = self._seen
        return made

    def refused(self, error: SecretError) -> BaseException:
        """What to raise where a value is revealed that cannot be had."""
        return error if self._refuse is None else self._refuse(error)

    def scrub(self, fault: Fault) -> Fault:
        """A fault without the texts that were sealed or opened here: an error often quotes what it was given."""
        return rewritten(fault, self.without) if self._seen else fault

    def without(self, value: Any) -> Any:
        """JSON without those texts."""
        if isinstance(value, str):
            for seen in sorted(self._seen, key=len, reverse=True):
                value = value.replace(seen, MASK)
            return value
        if isinstance(value, dict):
            return {self.without(k): self.without(v) for k, v in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [self.without(v) for v in cast("list[Any]", value)]
        return MASK if str(value) in self._seen else value

    def _see(self, plaintext: bytes) -> None:
        self._seen.update(_texts(json.loads(plaintext)))

    def _bound(self, id: str) -> list[bytes]:
        """What an envelope is bound to: it cannot be passed off as another tenant's or another key's."""
        return [b"segue sealed 1", self.tenant.encode(), id.encode()]


def rewritten(fault: Fault, change: Callable[[Any], Any]) -> Fault:
    """A fault with all texts changed that came from the error itself."""
    texts = [k for k, v in fault._asdict().items() if isinstance(v, (str, list, dict)) and k not in ("kind", "error")]
    return fault._replace(**{k: change(getattr(fault, k)) for k in texts})


def _texts(value: Any) -> Iterable[str]:
    """The texts and numbers in a value, as they would stand in an error; short ones would mask everything."""
    if isinstance(value, dict):
        for inside in cast("dict[str, Any]", value).values():
            yield from _texts(inside)
    elif isinstance(value, list):
        for inside in cast("list[Any]", value):
            yield from _texts(inside)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool) and len(str(value)) >= _SHORTEST:
        yield str(value)
        yield repr(value).strip("'\"")


def _cipher(key: Key) -> AESSIV:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415  an extra
    except ImportError:
        raise MissingExtra(
            "sealing a Secret needs the package cryptography",
            remedy="pip install 'segue[secrets]'",
        ) from None
    return AESSIV(key.material)
