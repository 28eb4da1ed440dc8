"""The reply: one model drafts it, code checks it, and a template stands in when no draft passes.

The model words the reply; what it may say follows from the books. Nothing of the customer's text reaches it, so that an
instruction hidden there has nobody to talk to. The check holds all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from segue import StepFailed
from segue.agent import Tried, answer
from segue.models import BadOutput

from .records import Claim, Facts, Language, Reply, Ticket, euros, table
from .triage import language_of

_WORDS_MIN, _WORDS_MAX = 12, 80
_ECHO = 7
"""So many words in a row from the customer's text are an echo."""
_SAYS_POLICY = 0.5
_PROMISE = re.compile(
    r"\b(refund|repay|reimburse|compensat|we return|will return|money back|erstatt|devolve|rembours)", re.I
)
_STATES = ("pending", "settled", "declined", "returned", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a reply must and may say."""

    language: Language
    name: str
    brief: str
    situation: str
    payment: str = ""
    amount: str = ""
    policy: str = ""
    source: str = ""

    def template(self) -> str:
        """The reply that needs no model."""
        form: str = table("replies")[self.language]["templates"][self.situation]
        return form.format(name=self.name, payment=self.payment, amount=self.amount, policy=self.policy)


def case_of(ticket: Ticket, facts: Facts, claim: Claim, *, paid: bool) -> Case:
    """The case as the model sees it: lines of facts, without the customer's own words."""
    language = language_of(ticket.text)
    forms, policy = table("replies")[language], facts.policy[language]
    theirs = facts.payment if facts.payment is not None and facts.payment.customer == ticket.customer else None
    lines, amount = [f"Customer: {facts.customer.first_name}"], euros(claim.cents) if paid else ""
    if theirs is not None:
        state = "" if paid or language != "en" else f", {theirs.status}"
        lines.append(f"Payment: {theirs.id}, {theirs.what}, {euros(theirs.cents)}{state}")
    if paid:
        lines += [f"Problem: {claim.why}"] if language == "en" else []
        lines.append(f"Decision: {forms['pay'].format(amount=amount)}")
    else:
        lines += [f"Decision: {forms['look']}"] if claim.why else []
        lines.append(f"Policy: {policy}")
    return Case(
        language=language,
        name=facts.customer.first_name,
        brief="\n".join(lines),
        situation="pay" if paid else "payment" if theirs is not None else "none",
        payment="" if theirs is None else theirs.id,
        amount=amount,
        policy=policy,
        source=f"{ticket.text}\n{ticket.attachment}",
    )


async def draft(case: Case) -> tuple[Reply, list[Tried]]:
    """A reply that passes the check, and the calls that it took."""
    forms = table("replies")[case.language]
    shots: list[list[str]] = forms["examples"][case.situation]
    examples = sorted(((asked, said) for asked, said in shots), key=lambda shot: _alike(shot[0], case.brief))
    try:
        given = await answer(
            forms["prompt"], case.brief, route="draft", examples=examples, check=lambda text: mistake(text, case),
            max_tokens=120, repairs=0, attempts=2, settings={"words": ["Case", "Reply"]},
        )  # fmt: skip
    except BadOutput as error:
        mistakes = [tried.error for tried in error.tried]
        return Reply(text=case.template(), by="template", mistakes=mistakes), list(error.tried)
    except StepFailed:  # the process died in the last of its attempts: ask anew
        return await draft(case)
    return Reply(text=given.value, by=given.model, mistakes=[t.error for t in given.tried if t.error]), list(
        given.tried
    )


def mistake(text: str, case: Case) -> str | None:
    """The first thing that is wrong with a draft, None if nothing is. Pure."""
    words = len(text.split())
    if not _WORDS_MIN <= words <= _WORDS_MAX:
        return f"it has {words} words, not {_WORDS_MIN} to {_WORDS_MAX}"
    if case.name not in text:
        return f"it does not greet {case.name}"
    if case.payment and case.payment not in text:
        return f"it does not name payment {case.payment}"
    if case.amount and case.amount not in text:
        return f"it does not name the amount {case.amount}"
    return _untrue(text, case) or _unfit(text, case)


def _untrue(text: str, case: Case) -> str | None:
    known = set(re.findall(r"[\d.,-]*\d", case.brief))
    strange = [number for number in re.findall(r"[\d.,-]*\d", text) if number not in known]
    if strange:
        return f"{strange[0]} is not in the case"
    if not case.amount and _PROMISE.search(text):
        return "it promises money, and none is granted"
    if case.amount and not _PROMISE.search(text):
        return f"it does not say that we return {case.amount}"
    states = [state for state in _STATES if state in text.lower() and state not in case.brief.lower()]
    return f"the payment is not {states[0]}" if states else None


def _unfit(text: str, case: Case) -> str | None:
    if language_of(text) != case.language:
        return f"it is not in the customer's language, {case.language}"
    if case.situation == "none" and _alike(text, case.policy) < _SAYS_POLICY:
        return "it leaves out the policy"
    if re.search(r"\b(\w+) \1 \1\b", text):
        return "it stammers"
    said, source = _tokens(text), " ".join(_tokens(case.source))
    runs = (" ".join(said[i : i + _ECHO]) for i in range(len(said) - _ECHO + 1))
    return "it repeats the customer's own text" if any(run in source for run in runs) else None


def _alike(text: str, other: str) -> float:
    """The part of `other`'s words that `text` has too. A small model copies its last example: let it fit."""
    words = set(_tokens(other))
    return len(words & set(_tokens(text))) / len(words)


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
