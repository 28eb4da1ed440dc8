"""What a client sends again of a thread, told by what its user said. Pure.

A client holds what its user typed. A flow may have asked it with parts beside it, or with words of its own around it,
so a turn is found by its prompt, by its prompt with parts, and by what stands in it as a part or as lines of its own.
A turn that is what the client sends, word for word, is never taken for another message that merely stands in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Span", "Words", "is_question", "known", "spans", "without_question"]

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Words:
    """What a user said in a turn."""

    text: str
    """As it stands in the thread."""
    spans: tuple[Span, ...]
    """Where in it the prompt stands, each part, and each note on what was no text."""

    @classmethod
    def of(cls, prompt: str, parts: Sequence[str] = ()) -> Words:
        """Of a question that is no turn yet."""
        return cls("\n".join([prompt, *parts]), spans(prompt, parts))

    @property
    def prompt(self) -> str:
        """Without the name of who said it."""
        begin, end = self.spans[0]
        return self.text[begin:end]

    @property
    def begin(self) -> set[str]:
        """The first line of each message that they are."""
        return {_first_line(self.text), _first_line(self.text[self.spans[0][0] :])}

    def are(self, sent: str) -> bool:
        """Whether a message is the prompt, alone or with its parts; or all that stands in the thread."""
        return self._go_on(self.spans[0][0], sent) or sent.strip() == self.text.strip()

    def hold(self, sent: str) -> bool:
        """Whether a message stands in them behind words of a flow: as a part, or in lines of its own."""
        wanted = sent.strip()
        if not wanted:
            return False
        beside = [self.text[begin:end].strip() for begin, end in self.spans[1:]]
        if wanted in beside or any(part.endswith(f"\n{wanted}") for part in beside):
            return True
        line = "\n" + _first_line(sent)
        return any(self._go_on(at + 1, sent) for at in _all(line, self.text, *self.spans[0]))

    def _go_on(self, begin: int, sent: str) -> bool:
        """Whether a message is what stands from a place in the prompt on, to its end or to that of a part."""
        at, wanted = 0, sent.strip()
        if not wanted:
            return not self.prompt.strip()
        for start, end in ((begin, self.spans[0][1]), *self.spans[1:]):
            piece = self.text[start:end].strip()
            if not piece:
                continue
            rest = len(wanted) - len(wanted[at:].lstrip())
            if (at and "\n" not in wanted[at:rest]) or not wanted.startswith(piece, rest):
                return False
            at = rest + len(piece)
            if at == len(wanted):
                return True
        return False


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip()


def spans(prompt: str, beside: Sequence[str], name: int = 0) -> tuple[Span, ...]:
    """Where a prompt stands, behind a name of so many characters, and what is beside it: each in a line of its own."""
    made, at = [(name, len(prompt))], len(prompt)
    for part in beside:
        made.append((at + 1, at + 1 + len(part)))
        at += 1 + len(part)
    return tuple(made)


def without_question(said: list[dict[str, str]], question: Words) -> tuple[list[dict[str, str]], str]:
    """What was said before a question; and the question in the words of the client, where it sends that too."""
    if said and said[-1]["role"] == "user" and is_question(said[-1]["content"], question):
        return said[:-1], said[-1]["content"]
    return said, ""


def is_question(last: str, question: Words) -> bool:
    """Whether the last message that a client sends is what is asked now."""
    prompt = question.prompt
    stands = (_stands_out(prompt, *place) for place in _places(_in(prompt, last), prompt))
    return question.are(last) or question.hold(last) or any(stands)


def known(have: Sequence[Words], sent: Sequence[str], question: Words, asked: str = "") -> int:
    """How many of the first of `sent` stand in `have`, in this order: others may have spoken in between.

    `asked` is the question in the words of the client; empty where that is not known.
    """
    framed = not (asked and question.are(asked))  # else the flow has no words of its own
    by_line = dict[str, list[str]]()
    for one in dict.fromkeys(sent):
        by_line.setdefault(_first_line(one), []).append(one)
    count = 0
    for words in have:
        if count == len(sent):
            break
        one = sent[count]
        if words.are(one) or (
            (words.hold(one) or (framed and _framed_alike(words.prompt, one, question.prompt, asked)))
            and not any(words.are(other) for line in words.begin for other in by_line.get(line, ()))
        ):
            count += 1
    return count


def _framed_alike(prompt: str, sent: str, now: str, asked: str) -> bool:
    """Whether a message stands in a prompt in the words that are around the question that is asked now too."""
    wanted = _in(prompt, sent)
    if prompt == now:
        if asked:
            return wanted.strip() == asked.strip()
        return any(_stands_out(prompt, *at) for at in _places(wanted, prompt))
    if not wanted or wanted not in prompt:
        return False
    before, behind = _shared(prompt, now), _shared(prompt[::-1], now[::-1])
    return any(
        at + len(prompt) - end < len(now) and (at <= before or prompt[at - 1] == "\n") and _stands_out(prompt, at, end)
        for at, end in _places(wanted, prompt, max(0, len(prompt) - behind - len(wanted)))
    )


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _in(text: str, sent: str) -> str:
    """A message as it may stand in a text: with the spaces at its ends where these stand there too."""
    whole = sent.strip("\r\n")
    return whole if whole in text and whole.strip() else sent.strip()


def _stands_out(text: str, begin: int, end: int) -> bool:
    """Whether what stands there is a text of its own in this one, and no piece of a sentence."""
    lead, tail = text[max(0, begin - 2) : begin], text[end : end + 1]
    if lead and not lead.endswith("\n") and lead.rstrip()[-1:].isalnum():
        return False
    return tail in ("", "\n") or (bool(lead) and not (tail.isalnum() or tail.isspace()))


def _places(wanted: str, text: str, begin: int = 0) -> Iterator[Span]:
    """Where it stands in a text."""
    return ((at, at + len(wanted)) for at in _all(wanted, text, begin, len(text)))


def _all(wanted: str, text: str, begin: int, end: int) -> Iterator[int]:
    at = text.find(wanted, begin, end) if wanted else -1
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1, end)
