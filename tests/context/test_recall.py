"""Recall finds what a request is about; and the measure on LoCoMo, where its data is here."""

from __future__ import annotations

import json
import random
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from segue.context.benchmark import measured, read
from segue.context.benchmark.run import WAYS
from segue.context.memory import Memory, Scope, ScopeKind
from segue.context.notes import Said, Turns, View
from segue.context.recall.features import FEATURES, features, understood
from segue.context.recall.packing import packed, parts_of
from segue.context.recall.passages import Passage, Passages
from segue.context.recall.ranking import ranked
from segue.context.recall.terms import mentioned, terms
from segue.context.tokens import estimate
from segue.errors import InputError

DATA = Path(__file__).parents[3] / "shared" / "data" / "context"
TOKENS = estimate()


def passages(*lines: str) -> Passages:
    made = Passages()
    for at, line in enumerate(lines):
        who, _, text = line.partition(": ")
        day = datetime(2026, 1 + at // 4, 3)
        made.add(Passage(id=f"p{at}", text=text, who=who, at=day, session=f"s{at // 4}"))
    return made


TALK = passages(
    "Ann: I planted tomatoes in the garden last week.", "Bob: Nice! Which soil did you take?",
    "Ann: The dark one from the market.", "Bob: Good choice.",
    "Bob: My car broke down on the motorway.", "Ann: Oh no, what was it?", "Bob: A belt, and it took two hours.",
    "Ann: Glad that you are fine.",
    "Ann: The exhibition opens soon.", "Bob: I shall come.", "Ann: Bring your sister.", "Bob: She is in Oslo now.",
)  # fmt: skip


def best(request: str) -> str:
    return TALK.items[int(np.argmax(ranked(request, TALK)))].id


@pytest.mark.parametrize(
    ("request_", "id"),
    [
        ("What did Ann plant?", "p0"),
        ("Which soil did Ann use?", "p2"),
        ("What broke on Bob's car?", "p6"),
        ("Where is Bob's sister?", "p11"),
    ],
)
def test_the_passage_that_answers_is_among_the_first(request_: str, id: str) -> None:
    order = [TALK.items[at].id for at in np.argsort(-ranked(request_, TALK))[:3]]
    assert id in order


FACTS = {
    "Okonkwo": "The landlord is Mr Okonkwo.", "Zebulon": "Our router is called Zebulon, by the way.",
    "gate code": "The gate code is 5530#.", "Biscuit": "Our cat Biscuit is diabetic.",
    "walnuts allergic": "I am allergic to walnuts.",
    "surgery on the knee": "Dad had surgery on his knee.",
}  # fmt: skip
FILLERS = ["And how is that done?", "Tell me more about this.", "What of the other case?", "Why so?", "Go on, please."]


def pages() -> list[str]:
    """Long paragraphs of this project's own documentation."""
    texts = "\n\n".join(path.read_text() for path in sorted((Path(__file__).parents[2] / "docs").glob("*.md")))
    found = [" ".join(text.split()) for text in texts.split("\n\n") if "```" not in text and "|" not in text]
    return [text for text in found if 520 < len(text) < 990]


@pytest.mark.parametrize("seed", range(4))
def test_what_a_user_once_said_is_found_beside_long_answers(seed: int) -> None:
    luck, long = random.Random(seed), pages()
    told = luck.sample(range(40), len(FACTS))
    says = dict(zip(told, FACTS.values(), strict=True))
    talk = Passages()
    for n, answer in enumerate(luck.sample(long, 40)):
        for who, text in (("user", says.get(n) or luck.choice(FILLERS)), ("assistant", answer)):
            talk.add(Passage(id=f"{who}{n}", text=text, who=who, session=str(n // 20)))
    for request, at in zip(FACTS, told, strict=True):
        scores = ranked(request, talk)
        assert (scores > scores[at * 2]).sum() < 3, request


MAIL = (
    "Here is the mail I got, I paste it whole so that you see its tone. They begin with thanks, as people do, and they "
    "hope that we are well, and that the family enjoyed the summer and the new garden. {} They would have called, but "
    "they could not find the time, what with the move and all that comes with it: boxes in each room, and nobody knows "
    "any more what is in them. It has rained for a week, and the cellar is wet. Write to them soon, and tell them how "
    "the school is, and whether we shall come."
)
TOLD = {
    "Where should the hives go?": "The beekeeper wants the hives two metres behind the hazel hedge.",
    "Who gets the piano?": "Aunt Rosalind leaves the piano to her godchild.",
    "Where does the choir rehearse?": "The choir sings the Fauré in November, rehearsals are in the crypt.",
}
SMALL = [
    "Go on!",
    "Did you get it?",
    "Where?",
    "Who goes?",
    "Let us go there.",
    "She gets up early.",
    "Who does?",
    "I did.",
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("request_", TOLD)
def test_the_one_long_text_that_answers_is_found_among_short_ones(request_: str, seed: int) -> None:
    luck, talk = random.Random(seed), Passages()
    at = luck.randrange(20, 180)
    for n in range(200):
        text = MAIL.format(TOLD[request_]) if n == at else f"{luck.choice(SMALL)} {luck.choice(SMALL)}"
        talk.add(Passage(id=str(n), text=text, who="Ann" if n % 2 else "Bob", session=str(n // 20)))
    scores = ranked(request_, talk)
    assert (scores > scores[at]).sum() < 3


def test_a_date_in_the_request_counts() -> None:
    assert int(best("What happened in February?")[1:]) in range(4, 8)
    assert [(d.month, d.day, d.year) for d in mentioned("on 5 May, 2023, or May 7th; it may rain in June")] == [
        (5, 5, 2023), (5, 7, 0), (6, 0, 0),
    ]  # fmt: skip


def test_passages_that_are_added_one_by_one_are_found_like_those_given_at_once() -> None:
    lines = [f"{p.who}: {p.text}" for p in TALK.items]
    grown = passages(*lines[:6])
    ranked("warm", grown)
    for item in TALK.items[6:]:
        grown.add(item)
    assert np.allclose(grown.stems.bm25({"car": 1.0}), TALK.stems.bm25({"car": 1.0}))
    assert len(ranked("What broke?", grown)) == 12


def test_every_feature_has_a_name_and_is_a_number() -> None:
    for request in ("", "?", "When did Ann plant in January?", "xyzzy"):
        matrix = features(understood(request, TALK), TALK)
        assert matrix.shape == (12, len(FEATURES))
        assert np.isfinite(matrix).all()
    assert len(ranked("anything", Passages())) == 0


def test_what_is_packed_fits_in_any_room_and_stands_in_order() -> None:
    luck = random.Random(1)
    for _ in range(200):
        scores = np.array([luck.random() for _ in TALK.items])
        room = luck.randint(1, 200)
        places = packed(TALK.items, scores, room, TOKENS)
        parts = parts_of(TALK.items, places, scores)
        assert sum(TOKENS("[recalled] " + part.text) + 1 for part in parts) <= room
        shown = [name for part in parts for name in (part.source or "").split()]
        assert shown == [TALK.items[place].id for place in sorted(places)]


def test_stems_bring_forms_of_a_word_together() -> None:
    assert terms("planned planning plans") == ["plan"] * 3
    assert terms("She was at the studies") == ["study"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"turns": [{}], "questions": []}', "no json"])
def test_a_file_that_is_no_dialogue_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(InputError, match=r"d\.json"):
        read([str(tmp_path / "d.json")])


def test_the_measure_counts_only_what_is_shown(tmp_path: Path) -> None:
    turns = [{"id": f"D1:{n}", "at": "2026-01-01", "speaker": "Ann", "text": f"word{n} is it"} for n in range(200)]
    asked = [{"question": "word3?", "evidence": ["D1:3", "D1:199"], "category": 1}]
    (tmp_path / "d.json").write_text(json.dumps({"turns": turns, "questions": asked}))
    said = measured(read([str(tmp_path / "d.json")]), budgets=[200])
    assert said["recency"]["200"] == {
        "recall_all": 0.0, "recall": 0.5, "by_category": {"1": {"recall_all": 0.0, "recall": 0.5}},
    }  # fmt: skip


@pytest.mark.proof
def test_ours_leads_every_other_way_at_every_budget_on_locomo() -> None:
    file = DATA / "locomo-1.json.gz"
    if not file.exists():
        pytest.skip("the LoCoMo dialogues are not here: they may not be given away")
    said = measured(read([str(file)]))
    for budget, ours in said["ours"].items():
        for way in set(WAYS) - {"ours"}:
            assert ours["recall"] > said[way][budget]["recall"] + 0.05, (way, budget)


@pytest.mark.proof
def test_ten_thousand_passages_are_ranked_and_packed_quickly() -> None:
    luck = random.Random(0)
    words = [f"w{n}" for n in range(4000)]
    made = Passages()
    for n in range(10_000):
        text = " ".join(luck.choices(words, k=12))
        made.add(Passage(id=str(n), text=text, who="Ann", session=str(n // 25)))
    ranked("w1", made)
    seconds: list[float] = []
    for n in range(5):
        began = time.process_time()
        scores = ranked(f"When did Ann say w{n} w{n + 7} w{n + 99}?", made)
        packed(made.items, scores, 2000, TOKENS)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.15, "some 25 ms on a quiet machine"


@pytest.mark.skipif(not DATA.exists(), reason="the dialogues are not here")
def test_a_thread_with_the_turns_of_a_dialogue_recalls_what_the_measure_says() -> None:
    """What is taken up from turns is ranked as the passages of the bench are: the same turns come."""
    (dialogue,) = read([str(sorted(DATA.glob("locomo-*.json.gz"))[0])])
    thread, passages = Scope(ScopeKind.THREAD, "t"), Passages(dialogue.turns)
    with Memory() as memory:
        memory.take_up(
            thread,
            [Said(n, turn.text, turn.who, f"run-{n}", "ask[x]#1", turn.at) for n, turn in enumerate(dialogue.turns, 1)],
            len(dialogue.turns),
        )
        for question in dialogue.questions[::12]:
            made = memory.recall(question.text, [View(thread, (Turns(thread),), upto=10_000)], 1000, TOKENS)
            wanted = packed(dialogue.turns, ranked(question.text, passages), 1000, TOKENS)
            found = {int(name.removeprefix("note-")) - 1 for part in made for name in (part.source or "").split()[2:]}
            assert found == set(wanted)
