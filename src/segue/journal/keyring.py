"""Keys: one for each tenant, beside the database. Destroying a tenant's key erases all that was sealed with it.

A `Keyring` may be anything that gives keys by tenant and id: bring a KMS by implementing the protocol and passing it as
`Engine(keyring=...)`. The default keeps them in the folder `<database>-keys` (mode 0700), one file for each tenant
(mode 0600); copy it apart from the database, or not at all. What a disk keeps of a file that was overwritten and
removed is the disk's to say: on flash, put the folder on an encrypted volume or use a KMS.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from ..errors import SecretErased, SecretError, SecretUnreadable

_KEY_BYTES = 64


class Key(NamedTuple):
    """One key: 64 bytes for AES-256-SIV (RFC 5297). Its id is never used again."""

    id: str
    material: bytes


class Keyring(Protocol):
    """Gives keys. Called while values are encoded and decoded: answer from memory where you can."""

    def current(self, tenant: str) -> Key:
        """The key that seals now; made when the tenant has none. It must be durable before this returns."""
        ...

    def find(self, tenant: str, id: str) -> Key:
        """The key of this id. Raises SecretErased when it was destroyed, SecretUnreadable when it is not here."""
        ...

    def destroy(self, tenant: str, *, by: str = "", why: str = "") -> list[str]:
        """Destroy all keys of a tenant; gives their ids. What is sealed later gets a new key."""
        ...


def new_key() -> Key:
    """A key of chance."""
    return Key(secrets.token_hex(8), secrets.token_bytes(_KEY_BYTES))


class MemoryKeyring:
    """Keys for a database in memory: they live as long as this object."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._erased: set[str] = set()

    def current(self, tenant: str) -> Key:
        """The tenant's key."""
        return self._keys.setdefault(tenant, new_key())

    def find(self, tenant: str, id: str) -> Key:
        """The key of this id."""
        if id in self._erased:
            raise _erased(tenant, id)
        key = self._keys.get(tenant)
        if key is None or key.id != id:
            raise _not_here(tenant, id, "this process's memory")
        return key

    def destroy(self, tenant: str, *, by: str = "", why: str = "") -> list[str]:
        """Forget the tenant's key."""
        key = self._keys.pop(tenant, None)
        self._erased |= {key.id} if key is not None else set()
        return [key.id] if key is not None else []


class FolderKeyring:
    """Keys in files, for all processes on one database. A file that changes is read again.

    The folder is made with its first key.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self._read: dict[Path, tuple[tuple[int, ...], Any]] = {}

    def current(self, tenant: str) -> Key:
        """The newest key of the tenant's file."""
        keys = self._keys(tenant)
        while not keys:
            self._make(tenant)
            keys = self._keys(tenant)
        return keys[-1]

    def find(self, tenant: str, id: str) -> Key:
        """The key of this id."""
        if id in self._gone(tenant):
            raise _erased(tenant, id)
        key = next((k for k in self._keys(tenant) if k.id == id), None)
        if key is None:
            raise _not_here(tenant, id, str(self._path(tenant)))
        return key

    def rotate(self, tenant: str) -> Key:
        """Seal with a new key from now on; the older ones still open what they have sealed."""
        keys = [*self._keys(tenant), new_key()]
        self.folder.mkdir(mode=0o700, exist_ok=True)
        _write(self._path(tenant), _packed(tenant, keys), os.replace)
        return keys[-1]

    def destroy(self, tenant: str, *, by: str = "", why: str = "") -> list[str]:
        """Overwrite and remove the tenant's file. Who asked, when and why is kept, with the ids."""
        ids = [k.id for k in self._keys(tenant)]
        path, note = self._path(tenant), self._path(tenant, ".erased")
        if ids:
            said = {"keys": ids, "at": time.time(), "by": by, "why": why}
            _write(note, {"tenant": tenant, "erased": [*self._load(note).get("erased", []), said]}, os.replace)
        self._shred(path)
        return ids

    def _keys(self, tenant: str) -> list[Key]:
        gone = self._gone(tenant)
        stored = self._load(self._path(tenant)).get("keys", [])
        return [Key(k["id"], b64decode(k["key"])) for k in stored if k["id"] not in gone]

    def _gone(self, tenant: str) -> set[str]:
        said = self._load(self._path(tenant, ".erased")).get("erased", [])
        return {key for one in said for key in one["keys"]}

    def _make(self, tenant: str) -> None:
        """Make the tenant's file, unless another process was first."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(tenant)
        if path.exists() and not self._keys(tenant):
            self._shred(path)  # an erasure was cut off between its two steps
        try:
            _write(path, _packed(tenant, [new_key()]), os.link)
        except FileExistsError:
            return

    def _shred(self, path: Path) -> None:
        try:
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return
        _sync(self.folder)

    def _load(self, path: Path) -> dict[str, Any]:
        try:
            stat = path.stat()
            sign = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            known = self._read.get(path)
            if known is None or known[0] != sign:
                known = self._read[path] = (sign, json.loads(path.read_bytes()))
        except FileNotFoundError:
            self._read.pop(path, None)
            return {}
        except (OSError, ValueError) as error:
            raise SecretUnreadable(f"{path}: {error}", remedy="restore the key file from a copy") from error
        return known[1]

    def _path(self, tenant: str, suffix: str = ".key") -> Path:
        """Readable where it can be; tenants that differ have files that differ, also where case does not count."""
        mark = blake2b(tenant.encode(), digest_size=6).hexdigest()
        return self.folder / f"{quote(tenant, safe='')[:80]}-{mark}{suffix}"


def unopened(kind: type[SecretError], tenant: str, id: str, why: str, remedy: str) -> SecretError:
    """The error of an envelope that stays closed."""
    error = kind(f"a secret cannot be opened: {why} (key {id})", remedy=remedy)
    error.tenant, error.key_id = tenant, id
    return error


def _erased(tenant: str, id: str) -> SecretError:
    why = f"the key of tenant {tenant!r} was destroyed"
    return unopened(
        SecretErased, tenant, id, why, "nothing brings it back: cancel the run, or fork it with another input"
    )


def _not_here(tenant: str, id: str, where: str) -> SecretError:
    return unopened(
        SecretUnreadable, tenant, id, f"its key is not in {where}", "restore the key file that belongs to this database"
    )


def _packed(tenant: str, keys: list[Key]) -> dict[str, Any]:
    return {"tenant": tenant, "keys": [{"id": k.id, "key": b64encode(k.material).decode()} for k in keys]}


def _write(path: Path, content: dict[str, Any], place: Callable[[Path, Path], None]) -> None:
    """Write a file whole or not at all, durable when this returns. `place` puts it under its name."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
        place(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
