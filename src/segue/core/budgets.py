"""Budgets: never overspent, never counted twice. Pure: the ledger is a fold over `usage.reserved` and `usage.settled`.

Before a call is sent its worst case is reserved against every budget that it counts against; its usage settles that.
A reservation is one thing, named by `(run, id)`, whatever is said of it and how often: events may be folded in any
order and more than once, and give the same ledger. Of several settlements of one reservation a correction counts before
an exact one, an exact one before an estimate, and of equals the larger. What a crash left open counts in full until
somebody settles it: at its full amount, as an estimate.

Amounts are whole nano-dollars (1e-9 USD).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from ..errors import BudgetExceeded, InputError
from .codec import dumps
from .events import Event, EventType
from .records import BudgetScope, Reservation, SettledBy, Settlement, record_of
from .shell import command

NANO = 1_000_000_000
MILLION = 1_000_000
_USD_MAX = 10**15
"""Of one amount: more is a slip of the pen, and no float that the router could reckon with."""


def nano(usd: Decimal | str | float) -> int:
    """Dollars as whole nano-dollars, rounded up. A float means what it prints as: 0.1 is a tenth."""
    try:
        amount = Decimal(str(usd))
        if not abs(amount) <= _USD_MAX:
            raise ValueError
        return int((amount * NANO).to_integral_value(ROUND_CEILING))
    except (ArithmeticError, ValueError):
        raise InputError(f"{usd!r} is no amount of money", remedy="give dollars, such as 0.50 or '0.50'") from None


def usd(amount_nano: int) -> Decimal:
    """Nano-dollars as dollars, exactly."""
    return Decimal(amount_nano).scaleb(-9)


def dollars(amount_nano: int) -> str:
    """Nano-dollars as a text in dollars, with as many digits as there are."""
    return f"{usd(amount_nano).normalize():f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """What a token costs at most, in nano-dollars per million tokens: the dearest kind of input and of output."""

    per_million_in: int
    per_million_out: int
    per_request: int = 0
    """Nano-dollars for the call itself."""


def worst_case(rates: Rates, tokens_in: int, tokens_out: int) -> int:
    """The most that a call can cost, rounded up: its input bound, and its output limit used up."""
    per_million = tokens_in * rates.per_million_in + tokens_out * rates.per_million_out
    return rates.per_request - (-per_million // MILLION)


def least_output(wanted: int) -> int:
    """The lowest limit that an answer may be given in place of what was asked for, in tokens: a quarter. Of less, it is
    rarely whole.
    """
    return max(1, wanted // 4)


def lowered(rates: Rates, tokens_in: int, tokens_out: int, left_nano: int, at_least: int = 1) -> int | None:
    """The largest output limit, up to `tokens_out`, whose worst case fits into `left_nano`; None below `at_least`."""
    if worst_case(rates, tokens_in, tokens_out) <= left_nano:
        return tokens_out
    if rates.per_million_out <= 0:
        return None
    spare = (left_nano - rates.per_request) * MILLION - tokens_in * rates.per_million_in
    fits = min(spare // rates.per_million_out, tokens_out)
    return fits if fits >= at_least else None


class Account(NamedTuple):
    """What a budget is known by."""

    kind: str
    name: str
    period: str | None
    currency: str

    @classmethod
    def of(cls, scope: BudgetScope, currency: str) -> Account:
        """The account of a record's scope."""
        return cls(scope.kind, scope.name, scope.period, currency)


class Standing(NamedTuple):
    """How a budget stands. `estimated` is the part of `spent` that no provider has confirmed."""

    spent: int = 0
    held: int = 0
    estimated: int = 0

    @property
    def used(self) -> int:
        """What is gone or may be."""
        return self.spent + self.held


def settled(standings: Sequence[Standing]) -> list[Standing]:
    """How budgets would stand if nothing of them were held."""
    return [at._replace(held=0) for at in standings]


def left(scopes: Sequence[BudgetScope], standings: Sequence[Standing]) -> int | None:
    """The most that a call may cost under budgets that stand so; None where none has a limit. Not below 0."""
    rests = [s.limit_nano - at.used for s, at in zip(scopes, standings, strict=True) if s.limit_nano is not None]
    return max(0, min(rests)) if rests else None


def check(reservation: Reservation, standings: Sequence[Standing]) -> None:
    """See that it fits into its budgets, which stand so. Raises BudgetExceeded naming the first that it does not."""
    for scope, standing in zip(reservation.scopes, standings, strict=True):
        if scope.limit_nano is not None:
            rest = max(0, scope.limit_nano - standing.used)
            if reservation.amount_nano > rest:
                raise _exceeded(scope, reservation, rest, standing.held)


class Open(NamedTuple):
    """A reservation that nothing has settled. `epoch` is the incarnation that made it."""

    run: int
    epoch: int
    reservation: Reservation


@dataclass(slots=True)
class _Entry:
    epoch: int = 0
    reserved: Reservation | None = None
    settled: Settlement | None = None


class Ledger:
    """How all budgets stand, folded from events of any runs. `add` never refuses: what happened, happened."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, str], _Entry] = {}
        self._standings: dict[Account, Standing] = {}

    @classmethod
    def of(cls, events: Iterable[Event]) -> Ledger:
        """Fold events; other types than the two are passed over."""
        ledger = cls()
        for event in events:
            ledger.fold(event)
        return ledger

    def fold(self, event: Event) -> None:
        """Add what an event says."""
        if event.type in (EventType.USAGE_RESERVED, EventType.USAGE_SETTLED):
            record = record_of(event)
            assert isinstance(record, Reservation | Settlement)
            self.add(event.run, record, event.epoch)

    def add(self, run: int, record: Reservation | Settlement, epoch: int = 1) -> None:
        """Add one record of a run."""
        name = record.id if isinstance(record, Reservation) else record.settles
        entry = self._entries.setdefault((run, name), _Entry())
        self._count(entry, -1)
        if isinstance(record, Settlement):
            entry.settled = _better(entry.settled, record)
        elif entry.reserved is None or _size(record) > _size(entry.reserved):
            entry.reserved, entry.epoch = record, max(entry.epoch, epoch)
        else:
            entry.epoch = max(entry.epoch, epoch)
        self._count(entry, +1)

    def standing(self, scope: BudgetScope, currency: str = "USD") -> Standing:
        """What is spent and held of a budget."""
        return self._standings.get(Account.of(scope, currency), Standing())

    def left(self, scopes: Iterable[BudgetScope], currency: str = "USD") -> int | None:
        """The most that a call may cost under all of these budgets; None where none has a limit. Not below 0."""
        asked = tuple(scopes)
        return left(asked, [self.standing(s, currency) for s in asked])

    def reserve(self, run: int, reservation: Reservation, epoch: int = 1) -> None:
        """Check and add a reservation. Raises BudgetExceeded naming the first budget that it does not fit into."""
        known = self._entries.get((run, reservation.id))
        if known is not None and known.reserved is not None:
            raise reserved_before(reservation)
        check(reservation, [self.standing(s, reservation.currency) for s in reservation.scopes])
        self.add(run, reservation, epoch)

    def open(self, run: int | None = None, before_epoch: int | None = None) -> list[Open]:
        """Reservations without a settlement: of one run, or of incarnations before `before_epoch`, or all."""
        return sorted(
            (o for o in self._open() if run in (None, o.run) and (before_epoch is None or o.epoch < before_epoch)),
            key=lambda o: (o.run, o.epoch, o.reservation.id),
        )

    def overruns(self) -> list[tuple[int, str, int]]:
        """`(run, id, amount)` of calls that took more than was reserved: their bound was wrong."""
        return sorted(
            (run, name, e.settled.amount_nano - e.reserved.amount_nano)
            for (run, name), e in self._entries.items()
            if e.reserved is not None and e.settled is not None and e.settled.amount_nano > e.reserved.amount_nano
        )

    def _open(self) -> Iterator[Open]:
        for (run, _), entry in self._entries.items():
            if entry.reserved is not None and entry.settled is None:
                yield Open(run, entry.epoch, entry.reserved)

    def _count(self, entry: _Entry, sign: int) -> None:
        """Add or take away what an entry stands for, in each of its budgets."""
        reserved, settled = entry.reserved, entry.settled
        if reserved is None:
            return  # a settlement that was folded first: what it counts against is not known yet
        for account in {Account.of(s, reserved.currency) for s in reserved.scopes}:
            spent, held, estimated = self._standings.get(account, Standing())
            if settled is None:
                held += sign * reserved.amount_nano
            else:
                spent += sign * settled.amount_nano
                estimated += sign * settled.amount_nano * settled.estimated
            self._standings[account] = Standing(spent, held, estimated)


def reserved_before(reservation: Reservation) -> InputError:
    """The error of a second reservation with one id."""
    return InputError(f"reservation {reservation.id!r} of this run exists", remedy="an attempt reserves once")


def lost(reservation: Reservation) -> Settlement:
    """What settles a reservation that a crash left open: its full amount, as an estimate."""
    return Settlement(
        settles=reservation.id, amount_nano=reservation.amount_nano, currency=reservation.currency, why=SettledBy.LOST,
        estimated=True,
    )  # fmt: skip


def unused(reservation: Reservation) -> Settlement:
    """What settles the reservation of a call that was not sent: nothing."""
    return Settlement(settles=reservation.id, amount_nano=0, currency=reservation.currency, why=SettledBy.UNUSED)


def _better(a: Settlement | None, b: Settlement) -> Settlement:
    """The settlement that counts, whichever was heard first."""
    return b if a is None or _rank(b) > _rank(a) else a


def weight(settlement: Settlement) -> tuple[bool, bool, int]:
    """Which of several settlements of one reservation counts: that of the greatest weight; of equals, any."""
    return settlement.why is SettledBy.CORRECTED, not settlement.estimated, settlement.amount_nano


def _rank(settlement: Settlement) -> tuple[tuple[bool, bool, int], bytes]:
    return weight(settlement), dumps(settlement.to_body())


def _size(reservation: Reservation) -> tuple[int, bytes]:
    return reservation.amount_nano, dumps(reservation.to_body())


def remedy(held: int) -> str:
    """What helps a call that does not fit, where calls under way hold so much of the budget."""
    whose = f"see who holds it ({command('budgets')}), " if held else ""
    return f"{whose}raise the budget, lower max_tokens, shorten the input, or allow a cheaper model"


def _exceeded(scope: BudgetScope, reservation: Reservation, left: int, held: int) -> BudgetExceeded:
    limit, asked, currency = scope.limit_nano or 0, reservation.amount_nano, reservation.currency
    name = f"{scope.kind}:{scope.name}" + (f" ({scope.period})" if scope.period else "")
    whose = "the call" if reservation.target is None else f"the call of {reservation.target.name}"
    aside = f", {dollars(held)} are held by calls under way" if held else ""
    error = BudgetExceeded(
        f"the budget {name} is {dollars(limit)} {currency}, and {dollars(left)} are left{aside}: "
        f"{whose} may cost {dollars(asked)}",
        remedy=remedy(held),
    )
    error.scope, error.limit_nano, error.asked_nano, error.left_nano = name, limit, asked, left
    error.held_nano = held
    return error
