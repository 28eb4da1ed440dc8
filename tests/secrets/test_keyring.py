"""Keys lie beside the database, for their owner only; destroying one is final, also across processes and crashes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segue.core.faults import FaultKind, classify
from segue.errors import SecretErased, SecretUnreadable
from segue.journal import keyring as module
from segue.journal.keyring import FolderKeyring, Keyring, MemoryKeyring
from segue.journal.vault import Vault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "x.db-keys"


def key_file(folder: Path) -> Path:
    return next(folder.glob("*.key"))


def test_the_folder_and_its_files_are_their_owners_alone(folder: Path) -> None:
    FolderKeyring(folder).current("acme")
    FolderKeyring(folder).destroy("acme")
    FolderKeyring(folder).current("acme")
    modes = {p.suffix: oct(p.stat().st_mode & 0o777) for p in folder.iterdir()}
    assert modes == {".key": "0o600", ".erased": "0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_nothing_is_made_before_the_first_secret(folder: Path) -> None:
    keyring = FolderKeyring(folder)
    with pytest.raises(SecretUnreadable, match="its key is not in"):
        keyring.find("acme", "0" * 16)
    assert keyring.destroy("acme") == []
    assert not folder.exists()


def test_all_processes_have_one_key(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: FolderKeyring(folder).current("acme"), range(16)))
    assert len(keys) == 1
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("tenant", ["a/../b", "..", "", "ACME", "acme", "ü" * 300, "a b\n"])
def test_any_tenant_has_a_file_of_its_own(tenant: str, folder: Path) -> None:
    keyring = FolderKeyring(folder)
    others = [keyring.current(other) for other in ("acme2", "a", "AcMe")]
    key = keyring.current(tenant)
    assert key not in others
    assert {p.parent for p in folder.rglob("*")} == {folder}
    assert FolderKeyring(folder).find(tenant, key.id) == key


def test_what_another_process_destroys_is_gone_here_too(folder: Path) -> None:
    here, there = FolderKeyring(folder), FolderKeyring(folder)
    key = here.current("acme")
    material = key_file(folder).read_bytes()
    assert there.destroy("acme", by="dpo", why="request 12") == [key.id]
    with pytest.raises(SecretErased):
        here.find("acme", key.id)
    assert here.current("acme").id != key.id
    left = b"".join(p.read_bytes() for p in folder.iterdir())
    assert json.loads(material)["keys"][0]["key"].encode() not in left
    said = json.loads(next(folder.glob("*.erased")).read_text())["erased"][0]
    assert (said["keys"], said["by"], said["why"]) == ([key.id], "dpo", "request 12")


def test_a_second_erasure_remembers_the_first(folder: Path) -> None:
    keyring = FolderKeyring(folder)
    ids = [keyring.current("acme").id, *keyring.destroy("acme"), keyring.current("acme").id, *keyring.destroy("acme")]
    for gone in (ids[0], ids[2]):
        with pytest.raises(SecretErased):
            keyring.find("acme", gone)


def test_an_erasure_that_was_cut_off_is_an_erasure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = FolderKeyring(folder)
    key = keyring.current("acme")
    with monkeypatch.context() as patch:
        patch.setattr(FolderKeyring, "_shred", lambda *_: None)  # killed between the note and the file
        keyring.destroy("acme")
    assert key_file(folder).exists()
    with pytest.raises(SecretErased):
        keyring.find("acme", key.id)
    assert keyring.current("acme").id != key.id


def test_a_new_key_seals_and_the_old_one_still_opens(folder: Path) -> None:
    keyring = FolderKeyring(folder)
    vault = Vault(keyring, "acme")
    before = vault.seal(b'"x"')
    new = keyring.rotate("acme")
    after = vault.seal(b'"x"')
    assert after["key"] == new.id != before["key"]
    assert vault.open(before) == vault.open(after) == b'"x"'
    assert len(keyring.destroy("acme")) == 2


def test_a_damaged_key_file_says_so(folder: Path) -> None:
    keyring = FolderKeyring(folder)
    keyring.current("acme")
    key_file(folder).write_text("{")
    with pytest.raises(SecretUnreadable, match="restore the key file"):
        keyring.current("acme")


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_both_keyrings_behave_the_same(kind: str, folder: Path) -> None:
    keyring: Keyring = MemoryKeyring() if kind == "memory" else FolderKeyring(folder)
    key = keyring.current("acme")
    assert keyring.current("acme") == keyring.find("acme", key.id) == key
    assert len(key.material) == 64
    with pytest.raises(SecretUnreadable):
        keyring.find("acme", "0" * 16)
    assert keyring.destroy("acme") == [key.id]
    assert keyring.destroy("acme") == []
    with pytest.raises(SecretErased) as caught:
        keyring.find("acme", key.id)
    assert (caught.value.tenant, caught.value.key_id) == ("acme", key.id)
    assert classify(caught.value).kind is FaultKind.BAD_REQUEST


def test_a_key_is_durable_before_it_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = module.os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda fd: (synced.append("fsync"), real(fd))[1])
    FolderKeyring(folder).current("acme")
    assert len(synced) >= 2  # the file, and the folder that names it
