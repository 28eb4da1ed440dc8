"""What can be wrong with a route. All are the user's turn.

UsageError
├── InvalidPolicy           a policy that cannot be; names its field
├── UnknownRoute            no route of this name
├── MissingExtra            a package that an extra of Segue brings is not installed
├── UnreadableModel         a trained router is damaged, or of another version
└── PolicyFailed            a user's own function chose nobody that there is, or raised
"""

from __future__ import annotations

from ..errors import UsageError


class InvalidPolicy(UsageError):
    """A policy cannot be as it is described. `field` names what must change."""

    code = "invalid-policy"
    field: str = ""


class UnknownRoute(UsageError):
    """No route of this name is known."""

    code = "unknown-route"


class PolicyFailed(UsageError):
    """A function that chooses raised, or gave what is no choice."""

    code = "policy-failed"


def expect(holds: bool, field: str, says: str) -> None:
    """Raise InvalidPolicy for a field that does not hold."""
    if not holds:
        error = InvalidPolicy(f"{field}: {says}")
        error.field = field
        raise error


class UnreadableModel(UsageError):
    """A trained router cannot be read: it is damaged, or of another version."""

    code = "unreadable-model"


class MissingExtra(UsageError):
    """A package that an extra of Segue brings is not installed."""

    code = "missing-extra"
