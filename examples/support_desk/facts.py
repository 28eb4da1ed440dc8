"""What the desk can look up: its steps to the outside world. They read `data/`."""

from __future__ import annotations

from segue import Retry, step, step_scope

from .records import Customer, Language, Payment, Topic, table

_AGAIN = Retry(attempts=4, backoff_s=0.2)


@step(retry=_AGAIN, timeout_s=10)
def find_customer(id: str) -> Customer:
    """The customer; somebody who is not in the books is a guest."""
    found = next((row for row in table("customers") if row["id"] == id), None)
    return Customer(id=id, name="there") if found is None else Customer(**found)


@step(retry=_AGAIN, timeout_s=10)
def find_payment(id: str | None) -> Payment | None:
    """The payment of this number.

    This service is flaky, as they are: it drops the first call for every number that ends with an odd digit.
    """
    if id is None:
        return None
    if int(id[-1]) % 2 and step_scope().attempt == 1:
        raise ConnectionError("the payments service closed the connection")
    return next((Payment(**row) for row in table("payments") if row["id"] == id), None)


@step(retry=_AGAIN, timeout_s=10)
def find_policy(topic: Topic) -> dict[Language, str]:
    """What Larch says about a topic, by language."""
    return table("policies")[topic]
