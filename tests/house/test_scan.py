"""Each rule of the house is seen to fail on code that breaks it, and to pass what only looks like it."""

from __future__ import annotations

import pytest

from tests.house import scan


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "import asyncio, time as t",
        "from time import monotonic",
        "import time.sub",
        "def f():\n    import time",
        "if TYPE_CHECKING:\n    from time import struct_time",
    ],
)
def test_an_import_is_found_in_any_form(code: str) -> None:
    assert "time" in scan.imported(code)


@pytest.mark.parametrize("code", ["from . import time", "from .time import x", "time = 1", "from segue.time import x"])
def test_a_module_of_ours_is_not_taken_for_the_standard_one(code: str) -> None:
    assert "time" not in scan.imported(code)


def test_what_is_imported_of_a_library_is_found_with_its_module() -> None:
    code = "import lib._a\ndef f():\n    from lib.b import _c\nfrom library import d\nfrom .lib import e"
    assert scan.named(code, "lib") == ["lib._a", "lib.b._c"]


def test_clocks_and_dice_are_found() -> None:
    assert scan.clocks_and_dice("a = datetime.now(UTC)\nb = uuid.uuid4()\nc = self.now()\nd = uuid.uuid5(n, s)") == [
        "datetime.now:1",
        "uuid.uuid4:2",
    ]


def test_the_length_of_a_function_counts_its_first_and_last_line() -> None:
    code = "async def f():\n" + "    x = 1\n" * 4
    assert scan.long_functions(code, 4) == ["f:5"]
    assert scan.long_functions(code, 5) == []


def test_a_bare_except_is_found() -> None:
    code = "try:\n    f()\nexcept ValueError:\n    pass\nexcept:\n    pass"
    assert scan.bare_excepts(code) == [5]


def test_poor_class_names_are_found() -> None:
    names = ["RunManager", "HandlerOf", "StepUtils", "Util", "Utility", "Run"]
    code = "\n".join(f"class {name}: ..." for name in names)
    assert scan.poor_class_names(code) == ["RunManager", "HandlerOf", "StepUtils", "Util"]


@pytest.mark.parametrize("text", ["cd /{}/main", "'/{}'", "file:///{}/x", "x=/{}/.cache"])
@pytest.mark.parametrize("folder", ["wo" + "rk", "ro" + "ot", "tmp/ba" + "sh_jobs"])
def test_places_of_a_machine_are_found(text: str, folder: str) -> None:
    assert scan.machine_places(text.format(folder))


@pytest.mark.parametrize("text", ["src/{}/x", "/{}ers", "https://example.org/{}", "./{}/", "/{}-flow"])
def test_what_only_looks_like_a_place_is_passed(text: str) -> None:
    assert not scan.machine_places(text.format("wo" + "rk"))


def test_hosts_of_a_registry_are_found() -> None:
    host = "https://files.python" + "hosted.org/x"
    assert scan.machine_places(f"ok\n{host}") == [f"2: {host}"]
    assert scan.machine_places("https://py" + "pi.org/sim" + "ple/segue")
