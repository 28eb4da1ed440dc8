"""Long texts beside short ones: neither is ranked behind the other kind for its length."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.context.benchmark import read
from segue.context.benchmark.run import WAYS
from segue.context.memory import Memory, Scope, ScopeKind
from segue.context.notes import Said
from segue.context.recall.packing import packed
from segue.context.recall.passages import Passage, Passages
from segue.context.recall.ranking import ranked
from segue.context.tokens import estimate

DATA = Path(__file__).parents[3] / "shared" / "data" / "context"
TOKENS = estimate()
ASKED = {
    "Could you plan a picnic for my nephew's sixth birthday?": (
        "Take the meadow behind the mill: it has shade from noon on, and the brook is shallow. Begin at eleven with "
        "a hunt for painted stones, six for each child, and let them wash these. Eat at half past twelve: "
        "flat bread, cucumber, small meatballs, apricots. Bring two blankets more than you think, and a bag for wet "
        "shoes. Then comes the rope: tie it low between two alders, and have one adult at each end. Leave the cake "
        "until three, as nobody sits still after it, and put the candles into slices of orange, because of the wind.",
        "What was your plan for my nephew's birthday picnic?",
    ),
    "Why does my bicycle squeak when I climb the hill to work?": (
        "It is most likely the bottom bracket, which you hear only under load. Put a hand on the frame and push each "
        "crank sideways: if there is play, the bearings are worn and want to be replaced in pairs. If there is none, "
        "take the pedals off, clean their threads and put on a little grease, since a dry thread sounds just the same. "
        "Then the saddle: stand up while you ride, and if the noise stops, it is the clamp below it. Last, look at "
        "the chain with a gauge; above three quarters of a per cent it should go, or it ruins the cassette as well.",
        "Remind me, why did you say my bicycle squeaks on the hill?",
    ),
    "What should I say to the council about the new car park?": (
        "Keep to three minutes and one demand. First thank them for the hearing, then say that eleven lime trees would "
        "be felled, each more than eighty years old, and pass the photograph round. Second, quote their own traffic "
        "count of last autumn: on two days of three the existing spaces were never more than two thirds full. Third, "
        "offer something: a trial with a shuttle from the station on market days, paid from the fees. End with the "
        "demand to put off the vote until the autumn, and give the clerk a page with your sources before you sit down.",
        "What was I to tell the council on the car park?",
    ),
}  # fmt: skip
SMALL = (
    ("How do I change my address?", "Open Settings, then Profile."),
    ("Is my parcel on its way?", "It left Hamburg this morning."),
    ("Why was my card declined at work?", "The limit of the week was reached, it is free again on Monday."),
    ("Can you say what the fee is?", "One euro for each transfer."),
    ("Thanks, what else should I know?", "Nothing else, you are all set!"),
)


def chat(seed: int, answers: dict[str, str]) -> tuple[list[Said], dict[str, int]]:
    """Sixty turns, in some of which a long answer is given; and of each long answer, in which turn."""
    luck, said, told = random.Random(seed), list[Said](), dict[str, int]()
    asked = dict(zip(luck.sample(range(60), len(answers)), answers, strict=True))
    for n in range(60):
        question, answer = luck.choice(SMALL)
        if n in asked:
            question, answer = asked[n], answers[asked[n]]
            told[question] = n
        at = datetime(2026, 3, 1 + n // 6, 9, n % 6)
        said += [Said(n, question, "user", f"r{n}", "k", at), Said(n, answer, "assistant", f"r{n}", "k", at)]
    return said, told


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("verbatim", [True, False])
def test_a_long_answer_is_found_by_its_question(seed: int, verbatim: bool) -> None:
    said, told = chat(seed, {question: answer for question, (answer, _) in ASKED.items()})
    talk = Passages()
    for n, one in enumerate(said):
        talk.add(Passage(id=str(n), text=one.text, who=one.who, at=one.at, session=f"{one.at:%d}"))
    for question, (_, later) in ASKED.items():
        at = 2 * told[question] + 1
        assert at in packed(talk.items, ranked(question if verbatim else later, talk), 500, TOKENS), question


def test_the_piece_of_a_very_long_answer_is_found_by_its_question_and_its_own_words() -> None:
    parts = [answer for answer, _ in ASKED.values()]
    question = "Please advise me on Gudrun's jubilee, so that I can write it down."
    said, _ = chat(1, {question: "\n\n".join(parts)})
    thread = Scope(ScopeKind.THREAD, "t")
    with Memory() as memory:
        memory.take_up(thread, said, 60)
        for word in ("apricots", "cassette", "lime trees"):
            found = memory.recall(f"What did you advise me for Gudrun's jubilee: {word}?", [thread], 500, TOKENS)
            assert word in "\n".join(part.text for part in found)


WORDS = [f"w{n}" for n in range(12)]
FILL = " ".join(["filler"] * 80)
texts = st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from(WORDS), max_size=5)), min_size=1, max_size=16)


@given(texts, st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique=True))
def test_long_and_short_ones_take_turns(some: list[tuple[bool, list[str]]], wanted: list[str]) -> None:
    """A long one has at most twice as many before it as by how much of the words each has; a short one comes soon."""
    made = Passages()
    for n, (long, own) in enumerate(some):
        made.add(Passage(id=str(n), text=" ".join([*own, FILL if long else "x"]), session="s"))
    scores = ranked(" ".join(wanted), made)
    order = [int(n) for n in np.argsort(-scores, kind="stable")]
    fits = made.stems.bm25(dict.fromkeys(wanted, 1.0))
    has = [sum(made.stems.idf(word) for word in wanted if word in own) for _, own in some]
    short, long = ([n for n in order if some[n][0] is kind] for kind in (False, True))
    assert [fits[n] for n in long] == sorted((fits[n] for n in long), reverse=True)
    most = sorted((has[n] for n in long), reverse=True)
    for turn, (n, words) in enumerate(zip(long, most, strict=True)):
        assert order.index(n) <= 2 * (turn + sum(has[one] >= words - 1e-6 for one in short))
    for turn, n in enumerate(short):
        assert order.index(n) <= 2 * turn + 1


@pytest.mark.skipif(not DATA.exists(), reason="the dialogues are not here")
def test_a_dialogue_with_runs_of_turns_in_one_text_is_found_better_than_by_bm25() -> None:
    """As if parts of the talk had been pasted: of the questions, many have their evidence in a long text."""
    (dialogue,) = read([str(sorted(DATA.glob("locomo-*.json.gz"))[1])])
    luck, made, at, n = random.Random(5), list[Passage](), dict[str, int](), 0
    while n < len(dialogue.turns):
        first, many = dialogue.turns[n], luck.randint(4, 7) if luck.random() < 0.12 else 1
        run = [turn for turn in dialogue.turns[n : n + many] if turn.session == first.session]
        at |= dict.fromkeys((turn.id for turn in run), len(made))
        text = "\n".join(f"{turn.who}: {turn.text}" for turn in run)
        made.append(replace(first, text=text) if len(run) > 1 else first)
        n += len(run)
    passages, shown = Passages(made), {"ours": 0.0, "bm25": 0.0}
    assert passages.long.sum() > 20
    for question in luck.sample(list(dialogue.questions), 60):
        evidence = {at[dialogue.turns[place].id] for place in question.evidence}
        for way in shown:
            found = {*packed(made, WAYS[way](question.text, passages), 1000, TOKENS)}
            shown[way] += len(evidence & found) / len(evidence)
    assert shown["ours"] > shown["bm25"] + 3, shown
