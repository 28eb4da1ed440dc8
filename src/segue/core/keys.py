"""Identity of a durable call: `scope/name[user key or fingerprint]#k`.

A key says what is called, not where in the code: steps can be added, removed and moved under runs in flight. `k` counts
equal calls in one scope, in the order in which they are made.
"""

from __future__ import annotations

_QUOTES = str.maketrans({c: f"%{ord(c):02X}" for c in "%[]/"})


class Scope:
    """A naming scope: the run itself, a branch of a `gather`, an ask, an agent.

    `path` is "" for the run, else ends with "/". Tasks that the flow makes itself share the scope of their maker.
    """

    __slots__ = ("_counts", "path")

    def __init__(self, path: str = ""):
        self.path = path
        self._counts: dict[str, int] = {}

    def key(self, name: str, ident: str | None = None) -> str:
        """The key of the next call of `name` with this identity: a fingerprint, or a user's text that was quoted."""
        base = self._base(name, ident)
        k = self._counts[base] = self._counts.get(base, 0) + 1
        return f"{base}#{k}"

    def next_key(self, name: str, ident: str | None = None) -> str:
        """What `key` would give, without a call being made."""
        base = self._base(name, ident)
        return f"{base}#{self._counts.get(base, 0) + 1}"

    def _base(self, name: str, ident: str | None) -> str:
        return f"{self.path}{name}" if ident is None else f"{self.path}{name}[{ident}]"

    def child(self, segment: str) -> Scope:
        """A scope below this one."""
        return Scope(f"{self.path}{segment}/")


def part_of_run(n: int) -> str:
    """The path under which a run makes its calls after it has gone on as new `n` times; "" for the first part."""
    return f"continued#{n}/" if n else ""


def part_in(key: str) -> int:
    """The part of its run that makes a call of this key: 0 before the run first goes on as new."""
    name, _, _ = key.partition("/")
    number = name.removeprefix("continued#")
    return int(number) if number != name and number.isdigit() else 0


def quoted(text: str) -> str:
    """A user's text as an identity or a branch: its `%`, `[`, `]` and `/` are percent-encoded, so that no two keys
    collide.
    """
    return text.translate(_QUOTES)


def is_run_id(given: object) -> bool:
    """Whether it may be the id of a run: a text of 1 to 512 printable characters, without space at its ends."""
    return isinstance(given, str) and 0 < len(given) <= 512 and given == given.strip() and given.isprintable()


def family(key: str) -> str:
    """The key without identity and count: `a/fetch[1f…]#2` is of the family `a/fetch`."""
    if key.endswith("]", 0, key.rfind("#")):
        return key[: key.rfind("[")]
    return key[: key.rfind("#")]


def leaf_of(key: str) -> str:
    """The call without scope and count: `a/fetch[1f…]#2` gives `fetch[1f…]`."""
    return key[: key.rfind("#")].rpartition("/")[2]


def name_of(key: str) -> str:
    """The name of the call: `a/b#1/fetch[1f…]#2` gives `fetch`."""
    return family(key).rpartition("/")[2]
