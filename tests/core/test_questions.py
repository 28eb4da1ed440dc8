"""What a person is asked and what they said comes back from the journal as it went in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segue.core.codec import dumps
from segue.core.events import Event, EventType
from segue.core.questions import asked_again, body_of, details, open_questions, question_id, word_of
from segue.core.recovery import Again, AskPerson, Fail, Take, Told, Use, Word

texts = st.text(max_size=20)
values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | texts, lambda inner: st.lists(inner, max_size=3))
words: st.SearchStrategy[Word] = st.one_of(st.just(Again(0.0)), st.just(Fail()), texts.map(Use), values.map(Take))


@given(words, texts)
def test_a_word_comes_back(word: Word, by: str) -> None:
    value = dumps(word.value) if isinstance(word, Take) else None
    assert word_of(body_of(word), value, by) == word
    told = word_of(body_of(word), value, by, told=True)
    assert told == (Told(word.value, by) if isinstance(word, Take) else word)


@given(texts, texts, words, st.booleans(), st.none() | st.floats(0, 2e9))
def test_a_question_comes_back(to: str, text: str, default: Word, told: bool, due_at: float | None) -> None:
    asked = AskPerson(to, text, default=default if due_at is not None else Fail(), told=told)
    assert asked_again(to, details(asked, due_at)) == (asked, due_at)


def asked(seq: int, key: str, attempt: int | None) -> Event:
    body = dumps({"id": question_id(key, attempt or 0), "question": "what now?", "bound": "", "by": ["ann"]})
    return Event(1, seq, 1, 0.0, EventType.APPROVAL_ASKED, key=key, attempt=attempt, body=body)


def test_a_question_is_open_until_a_word_an_outcome_or_a_fork() -> None:
    two = [asked(1, "a#1", 1), asked(2, "b#1", 2), asked(3, "flow's own", None)]
    assert set(open_questions(two)) == {"a#1", "b#1"}
    assert open_questions(two)["b#1"].id == "b#1?2"

    def after(type_: str, key: str | None = "a#1", **body: object) -> set[str]:
        return set(open_questions([*two, Event(1, 4, 1, 0.0, type_, key=key, attempt=1, body=dumps(body))]))

    assert after(EventType.APPROVAL_DECIDED, verdict="answered") == {"b#1"}
    assert after(EventType.APPROVAL_DECIDED, verdict="reminded") == {"a#1", "b#1"}
    assert after(EventType.STEP_CANCELLED) == after(EventType.STEP_COMPLETED) == {"b#1"}
    assert after(EventType.OPERATOR_ACTED, act="retry") == {"b#1"}
    assert after(EventType.RUN_FORKED, None) == set()
    assert after(EventType.RUN_PARKED, None) == {"a#1", "b#1"}
