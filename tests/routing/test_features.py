"""What is known of a request before anybody answers: right for plain requests, and never slow or wrong in type."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.routing import Kind, Modality, Piece, Request, features_of, piece_of
from segue.routing.features import count_tokens, features, needs_of
from tests.routing.made import Letters

KINDS = [
    ("Fix this bug:\n```python\ndef f(x):\n    return x\n```", Kind.CODE),
    ("Write a SQL function that lists the customers", Kind.CODE),
    ("Solve the equation 3x + 5 = 20 for x.", Kind.MATHS),
    ("Prove that the sum of two odd integers is divisible by 2.", Kind.MATHS),
    ("Summarise the following report in three sentences.", Kind.SUMMARISE),
    ("Translate to French: I am late.", Kind.TRANSLATE),
    ("Extract all entities and fields from this invoice.", Kind.EXTRACT),
    ("Classify the sentiment of this review.", Kind.CLASSIFY),
    ("Compose a poem about the sea.", Kind.WRITE),
    ("What is the capital of Peru?", Kind.QUESTION),
    ("hello!", Kind.CHAT),
    ("", Kind.ANY),
]


@pytest.mark.parametrize(("text", "kind"), KINDS)
def test_the_kind_of_plain_requests(text: str, kind: Kind) -> None:
    assert features(text).kind == kind


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the cat is on the mat", "en"),
        ("der Hund ist nicht mit dem Ball", "de"),
        ("le chat est dans la maison", "fr"),
        ("el perro está con los gatos", "es"),
        ("Объясни это", "ru"),
        ("請解釋量子力學", "zh"),
        ("これは何ですか", "ja"),
        ("42", "und"),
    ],
)
def test_the_language_of_plain_requests(text: str, language: str) -> None:
    assert features(text).language == language


def test_what_the_caller_knows_is_not_guessed() -> None:
    told = features_of(Request(text="hello", kind="triage", difficulty=0.9, tokens_in=77))
    assert (told.kind, told.difficulty, told.tokens, told.counted) == ("triage", 0.9, 77, True)


def test_a_hard_request_is_harder_than_an_easy_one() -> None:
    hard = "Prove, step by step, that the algorithm is correct; explain the tradeoffs. " * 4
    assert features(hard).difficulty > features("Hello there").difficulty + 0.3


def test_pieces_bring_their_modality_tokens_and_need() -> None:
    pieces = (Piece(Modality.IMAGE, tokens=300), Piece(text="a note"))
    seen = features("What is this?", pieces)
    assert seen.modalities == {Modality.TEXT, Modality.IMAGE}
    assert seen.tokens == count_tokens("What is this?") + 300 + count_tokens("a note")
    assert needs_of(Request(text="", needs=frozenset({"tools"})), seen.modalities) == {"tools", "vision"}


def test_a_part_is_known_by_its_media_type() -> None:
    class Media:
        def __init__(self, media_type: str) -> None:
            self.media_type = media_type

    found = [piece_of(Media(kind)).modality for kind in ("image/png", "audio/wav", "application/pdf", "text/csv")]
    assert found == [Modality.IMAGE, Modality.AUDIO, Modality.DOCUMENT, Modality.TEXT]
    assert piece_of("plain") == Piece(text="plain")
    assert piece_of(Piece(tokens=3)) == Piece(tokens=3)


def test_the_embedding_is_of_the_prompt_and_its_parts() -> None:
    seen = features("ab", (Piece(text="c"),), Letters())
    assert seen.embedding is not None
    assert seen.embedding[:4].tolist() == pytest.approx([3**-0.5] * 3 + [0.0])
    assert seen.embedding_model == "letters-1"


@given(st.text(max_size=3000), st.lists(st.text(max_size=50), max_size=3))
def test_any_text_has_features_in_their_ranges(text: str, more: list[str]) -> None:
    seen = features(text, [Piece(text=one) for one in more])
    for share in (seen.difficulty, seen.code, seen.maths):
        assert 0.0 <= share <= 1.0
    assert seen.tokens >= 0
    assert len(seen.language) in (2, 3)
    again = features(text, [Piece(text=one) for one in more])
    assert (seen.kind, seen.difficulty, seen.language) == (again.kind, again.difficulty, again.language)


@given(st.text(max_size=200), st.text(max_size=200))
def test_more_text_is_never_fewer_tokens(a: str, b: str) -> None:
    assert count_tokens(a + b) >= max(count_tokens(a), count_tokens(b))


@pytest.mark.parametrize("unit", ["a", "1 + ", "$x", "((((", "\n  ", "x = ", "- ", "é ", "``` "])
def test_a_very_long_text_takes_no_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.thread_time()
    features(text)
    assert time.thread_time() - began < 0.05
