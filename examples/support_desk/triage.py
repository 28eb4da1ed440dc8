"""What a ticket is about. Two small models and a rule vote, since each of them alone is often wrong.

The first model's answer is checked against the words of the message: does the most similar labelled example have the
same topic? If not, the second model is asked, and the majority holds.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import get_args

from segue import StepFailed
from segue.agent import Answer, Check, Tried, answer
from segue.models import BadOutput

from .records import TOPICS, Language, Topic, Triage, table

_PROMPT = f"Sort each customer message of a money app into one topic: {', '.join(TOPICS[:-1])} or {TOPICS[-1]}."
_LONGEST = 300
_SIMILAR = 1.1
"""Below this the most similar example says nothing."""

_SHOTS: list[tuple[str, Topic]] = [(shot["message"], shot["topic"]) for shot in table("shots")]
_BY_TOPIC = [[shot for shot in _SHOTS if shot[1] == topic] for topic in TOPICS]
_EXAMPLES = [shots[i] for i in range(max(map(len, _BY_TOPIC))) for shots in _BY_TOPIC if i < len(shots)]
"""The topics in turns: a small model is prone to repeat the last one."""


async def classify(text: str) -> tuple[Triage, list[Tried]]:
    """The topic of a message, and the calls that it took."""
    message, words = text[:_LONGEST], nearest(text)
    votes: dict[str, str] = {"words": words or "none"}

    def agrees(topic: Topic) -> str | None:
        return None if topic == words else f"the words say {words or 'nothing'}"

    tried = await _votes(message, agrees)
    said: list[Topic] = [json.loads(one.text) for one in tried]
    votes |= {one.model: topic for one, topic in zip(tried, said, strict=True)}
    if said[0] == words:
        return Triage(topic=said[0], how="agreed", votes=votes), tried
    second = said[-1]
    topic = second if second in (said[0], words) else words or second
    how = "outvoted" if second in (said[0], words) else "unsure"
    return Triage(topic=topic, how=how, votes=votes), tried


async def _votes(message: str, check: Check[Topic]) -> list[Tried]:
    """What the models say, one after the other, until one agrees with the words."""
    try:
        given: Answer[Topic] = await answer(
            _PROMPT, message, returns=Topic, route="sort", examples=_EXAMPLES, check=check, max_tokens=8, repairs=0,
            attempts=2, settings={"words": ["Message", "About"]},
        )  # fmt: skip
    except BadOutput as error:
        return list(error.tried)
    except StepFailed:  # the process died in the last of its attempts, and two are two: ask anew
        return await _votes(message, check)
    return list(given.tried)


def nearest(text: str) -> Topic | None:
    """The topic of the most similar labelled message, by the rarity of the words that they share; None if none is."""
    scored: list[tuple[float, Topic]] = [(_similarity(text, message), topic) for message, topic in _SHOTS]
    score, topic = max(scored)
    return topic if score >= _SIMILAR else None


def _similarity(text: str, example: str) -> float:
    shared, words = _stems(text) & _stems(example), _stems(example)
    return sum(map(_rarity, shared)) / math.sqrt(1 + sum(map(_rarity, words)))


def _rarity(stem: str) -> float:
    return math.log(1 + len(_SHOTS) / (1 + _SEEN[stem]))


def _stems(text: str) -> set[str]:
    return {word[:6] for word in re.findall(r"[a-z]+", text.lower())}


_SEEN = Counter(stem for message, _ in _SHOTS for stem in _stems(message))

_COMMON: dict[Language, str] = {
    "en": "the is my and to i it not was you for have in of a",
    "de": "der die das ich nicht und ist mir eine wurde bei bitte kann meine ihre danke für wir sie guten",
    "es": "el la los que me mi por es en una han pago quiero de y su gracias le para hola",
    "fr": "le la les mon ma est une depuis il pas vous que se et votre merci pour sur bonjour un en",
}


def language_of(text: str) -> Language:
    """The language, by its commonest words."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    return max(get_args(Language), key=lambda language: sum(word in _COMMON[language].split() for word in words))
