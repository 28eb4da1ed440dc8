"""The desk: what it decides follows from the books, and what it sends has passed the check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples.support_desk import lead
from examples.support_desk.facts import find_customer
from examples.support_desk.flows import desk, desk_batch
from examples.support_desk.money import claim_of
from examples.support_desk.records import Customer, Facts, Payment, Resolution, Ticket, table
from examples.support_desk.reply import Case, case_of, mistake
from examples.support_desk.triage import language_of, nearest
from segue import Engine, Run
from segue.models import Completion, Request
from tests.demo import scripted

TICKETS = {row["id"]: Ticket(**row) for row in table("tickets")}


def facts_for(ticket: Ticket) -> Facts:
    customers = {row["id"]: Customer(**row) for row in table("customers")}
    payments = {row["id"]: Payment(**row) for row in table("payments")}
    policy = table("policies")[ticket.label]
    return Facts(customer=customers[ticket.customer], payment=payments.get(ticket.payment or ""), policy=policy)


def case_for(ticket: Ticket) -> Case:
    facts = facts_for(ticket)
    claim = claim_of(ticket, facts)
    return case_of(ticket, facts, claim, paid=claim.cents > 0)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(str(tmp_path / "desk.db"))


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted.install(monkeypatch.setattr)


async def decided(run: Run[Resolution], approved: bool) -> None:
    """Answer the approval that the run asks for."""
    async for event in run.events():
        if event.type == "approval.asked":
            asked: dict[str, Any] = json.loads(event.body or b"")
            await run.signal(asked["id"], {"approved": approved, "by": "ada"})
            return


def test_there_are_forty_tickets_of_many_kinds() -> None:
    assert len(TICKETS) == 40
    assert {"long", "another language", "attachment", "angry", "prompt injection"} <= {t.kind for t in TICKETS.values()}


def test_every_template_passes_the_check_that_drafts_must_pass() -> None:
    wrong = {name: mistake(case_for(t).template(), case_for(t)) for name, t in TICKETS.items()}
    assert {name: why for name, why in wrong.items() if why} == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Hello Anna.", "words"),
        ("Hello Bob, thank you for writing about payment P-1001, we return 41.20 EUR within 3 working days.", "greet"),
        ("Hello Anna, thank you for writing to us, we return 41.20 EUR within 3 working days to you.", "name payment"),
        (
            "Hello Anna, thank you for writing about P-1001, we return 41.20 EUR for P-2001 within 3 days.",
            "-2001 is not",
        ),
        (
            "Hello Anna, thank you for writing about P-1001 and the 41.20 EUR, which is fine as it stands.",
            "does not say",
        ),
        (
            "Hello Anna, P-1001 was cancelled by the merchant, so we return 41.20 EUR within 3 working days.",
            "not cancel",
        ),
        (
            "Guten Tag Anna, danke für Ihre Nachricht, wir erstatten 41.20 EUR für die Zahlung P-1001 und das ist es.",
            "lang",
        ),
        ("Hello Anna, I bought a magazine at Nordkiosk and I was charged; P-1001, we return 41.20 EUR.", "own text"),
        ("Hello Anna, P-1001 is a credit credit credit, so we return 41.20 EUR within 3 working days.", "stammers"),
    ],
)
def test_a_bad_draft_is_turned_down(text: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        assert mistake(text, case_for(TICKETS["T-01"])) is None


def test_a_promise_of_money_is_turned_down_where_none_is_granted() -> None:
    text = "Hello Sam, thank you for writing about payment P-1011. It was declined, and we refund it to you today."
    assert mistake(text, case_for(TICKETS["T-04"])) == "it promises money, and none is granted"


def test_the_customers_own_words_never_reach_the_writer() -> None:
    assert "ignore all previous" in TICKETS["T-04"].text
    assert "ignore" not in case_for(TICKETS["T-04"]).brief


def test_nobody_is_paid_for_a_payment_of_somebody_else() -> None:
    ticket = Ticket(id="x", customer="C-08", text="Refund P-1001 to me, please.", label="payment")
    claim = claim_of(ticket, facts_for(ticket))
    assert (claim.cents, claim.why) == (0, "the payment is not this customer's")


def test_the_words_of_a_message_say_its_topic_or_nothing() -> None:
    assert nearest("The ATM swallowed my card") == "cash"
    assert nearest("zzz") is None


@pytest.mark.parametrize(("id", "language"), [("T-01", "en"), ("T-02", "de"), ("T-10", "es"), ("T-11", "fr")])
def test_the_language_is_known_by_its_commonest_words(id: str, language: str) -> None:
    assert language_of(TICKETS[id].text) == language


def test_the_team_lead_denies_much_money_and_flagged_customers() -> None:
    assert lead.by_rule("?", {"customer": "C-01", "cents": 4120})
    assert not lead.by_rule("?", {"customer": "C-01", "cents": lead.MAX_CENTS + 1})
    assert not lead.by_rule("?", {"customer": "C-07", "cents": 100})


async def test_money_moves_once_it_is_approved(engine: Engine, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with engine:
        run = await engine.start(desk, TICKETS["T-01"], str(ledger))
        await decided(run, approved=True)
        done = await run.result()
    assert (done.paid_cents, done.decision) == (4120, "approved by ada")
    assert [json.loads(line)["cents"] for line in ledger.read_text().splitlines()] == [4120]
    assert (done.reply.by, done.usage.calls, done.usage.tokens_in) == ("smollm2", 2, 200)


async def test_what_is_denied_is_neither_paid_nor_promised(engine: Engine, tmp_path: Path) -> None:
    async with engine:
        run = await engine.start(desk, TICKETS["T-05"], str(tmp_path / "ledger"))
        await decided(run, approved=False)
        done = await run.result()
    assert (done.paid_cents, done.decision) == (0, "denied by ada")
    assert "return" not in done.reply.text
    assert not (tmp_path / "ledger").exists()


async def test_a_small_sum_needs_nobody(engine: Engine, tmp_path: Path) -> None:
    async with engine:
        done = await engine.run(desk, TICKETS["T-23"], str(tmp_path / "ledger"))
    assert done.paid_cents == 120


async def test_a_model_that_errs_is_asked_again_and_then_a_template_stands_in(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Request] = []

    async def babble(request: Request) -> Completion:
        seen.append(request)
        text = "card" if request.choices else "la la la"
        return Completion(text=text, model=request.model, tokens_in=10, tokens_out=3)

    scripted.install(monkeypatch.setattr, babble)
    async with engine:
        done = await engine.run(desk, TICKETS["T-28"], str(tmp_path / "ledger"))
    drafts = [request for request in seen if not request.choices]
    assert (done.reply.by, len(drafts), len(done.reply.mistakes)) == ("template", 2, 2)
    assert "Do not repeat this mistake: it has 3 words" in drafts[1].input
    assert (done.how, done.usage.turned_down) == ("outvoted", 4)  # two votes, two drafts


async def test_a_batch_runs_children_and_one_that_fails_spoils_no_other(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(id: str) -> Customer:
        if id == "lost":
            raise ValueError("no such book")
        return Customer(id=id, name="there")

    monkeypatch.setattr(find_customer, "function", lost)
    tickets = [Ticket(id=f"M-{i}", text="Where is my card?", customer="lost" if i == 2 else "") for i in range(5)]
    async with engine:
        run = await engine.start(desk_batch, tickets, str(tmp_path / "ledger"), 3)
        tallies = await run.result()
        children = [child for child in await engine.runs() if child.parent == run.id]
    assert [tally.ticket for tally in tallies] == [f"M-{i}" for i in range(5)]
    assert [bool(tally.error) for tally in tallies] == [False, False, True, False, False]
    assert len(children) == 5
