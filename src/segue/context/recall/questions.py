"""Questions that stand by themselves in a text, and which of them surely head what follows, as in a FAQ. Pure.

In mails, talk and prose somebody asks as well, and what follows need be no answer: there a question heads nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["LONGEST", "answered", "asks", "is_question", "leads", "listed"]

LONGEST = 130
"""Characters of a question that may stand by itself."""
_ENDS = re.compile(r"(?:[?？؟]|(?<=[\u0370-\u03ff\u1f00-\u1fff])[;\u037e])[\"'”’»)*_ \t\r]*$")
_MARK = re.compile(
    r"\W{0,2}(?:Q(?:uestion)?|Frage|F|Pregunta|P|Domanda|D|Вопрос|В|Ερώτηση|Ε|问|問|سؤال|س)"
    r"(?: ?\d{0,3} ?[:.)：]| ?\d{1,3} ?[-–—] )[*_ ]*\S"
)
_ANSWER = re.compile(
    r"\W{0,2}(?:A(?:nswer)?|Antwort|R(?:éponse|espuesta|isposta)?|Ответ|О|Απάντηση|Α|答|جواب|ج) ?\d{0,3} ?[:.)：]"
)
_NUMBER = re.compile(r"(?:\*\*|__)?\(?(?:[1-9]\d?(?:\.\d{1,2})*(?:[.:]|\.?\)|\s?[-–—])?|[a-z]\))(?:\*\*|__)?\s+")
_ITEM = re.compile(r"[-*+]\s+(?=\*\*|__)")
_LIST = re.compile(r"\s*(?:[-*+]|\d+[.)])\s|\s*$")
_BOLD = re.compile(r"(\*\*|__).+\1$")
_FORM = re.compile(r"[.!?;]\s|[。！？؟；|\t@]|://|: ")
_GOES_ON = re.compile(r"(?:and|but|so|or|then|well|und|aber|oder|et|mais|y|pero|e|ma|и|но)\b", re.IGNORECASE)
_TALK = re.compile(
    r"(?:hi|hello|hey|dear|hallo|lieber?|sehr geehrte\w*|guten \w+|bonjour|ch[eè]re?|hola|estimad[oa]s?|ciao|gentile|"
    r"привет|здравствуйте|уважаем\w+)\b.{0,30}$|(?:(?:all the )?best|cheers|thanks|thank you|(?:yours )?sincerely|"
    r"(?:\w+ )?regards|mit freundlichen grüßen|viele grüße|cordialement|saludos|с уважением)[,.!]? ?\w{0,15}$"
    r"|.*\b(?:wrote|schrieb):$|(?:From|Sent|Subject|Von|Gesendet|Betreff|De|Objet|Asunto): ",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"([^\W\d_][^\s:]{0,20}(?: [^\s:]{1,20})?): \S")
_NAME = re.compile(r"[^\W\d_][\w.'-]*(?: [^\W\d_][\w.'-]*){0,2}$")
_TIME = re.compile(r"\d{1,2}:\d\d\b")
_BEFORE, _EACH, _LONG = 2, 6, 80
"""Paragraphs before the first question of a FAQ, and to each; characters of most answers: turns of talk are shorter."""


def asks(line: str, below: str = "") -> bool:
    """Whether a line is a question, be it sure or not that it heads anything, or one that the line below answers."""
    if "\n" in line or len(line) > LONGEST or not line.strip():
        return False
    return _ENDS.search(line) is not None or (_ANSWER.match(below) is not None and _MARK.match(line) is not None)


def is_question(words: str) -> bool:
    """Whether words have the form of a question that heads something: one sentence, and its beginning."""
    first = words.lstrip("¿\"“«„'")[:1]
    if not first.isalnum() or first.islower() or not asks(words) or sum(map(str.isalpha, words)) < 2:
        return False
    return not _FORM.search(_ENDS.sub("", words))


def leads(line: str, below: str) -> bool:
    """Whether a line is a question of which a mark (`Q:`), or bold letters or a number with the answer right below,
    tell so; bold ones may be the items of a list.
    """
    words = _ITEM.sub("", line.rstrip())
    strong = _BOLD.match(words) is not None or (_NUMBER.match(words) is not None and _LIST.match(below) is None)
    strong = strong and bool(below.strip()) and is_question(_bare(words))
    return (strong or _MARK.match(line) is not None) and asks(words, below) and not asks(below)


def listed(lines: Sequence[str], said: Sequence[int]) -> dict[int, str]:
    """The questions of a text that lead what stands below; `said`: its lines that are not empty. Of those with a number
    there are two at least, none below another one, and nothing tells of talk or mail.
    """
    found, numbered = dict[int, str](), list[int]()
    for at, next_ in pairwise(said):
        words = _ITEM.sub("", lines[at])
        number, bold = _NUMBER.match(words) is not None, words.startswith(("**", "__"))
        if leads(lines[at], lines[at + 1 if bold or number else next_]):
            found[at] = words.replace("**", "").replace("__", "").strip()
            numbered += [at] if number and not _BOLD.match(words.rstrip()) else []
    beside = any(at and asks(lines[at - 1]) for at in numbered)
    if numbered and (len(numbered) < 2 or beside or _talk([lines[at] for at in said])):
        found = {at: words for at, words in found.items() if at not in {*numbered}}
    return found


def answered(lines: Sequence[str], firsts: Sequence[int]) -> set[int]:
    """Which questions of a section, whose paragraphs begin there, head what follows: if nothing tells of talk or mail,
    those that are bold or numbered, and plain ones, if there are two, soon, with answers longer than turns of talk.
    """
    paragraphs = [_paragraph(lines, at) for at in firsts]
    if not any(asks(said) for said in paragraphs) or _talk(paragraphs):
        return set()
    strong, plain = list[int](), list[int]()
    for no, (said, next_) in enumerate(pairwise(paragraphs)):
        bold, number = _BOLD.match(said), _NUMBER.match(said)
        if (bold and is_question(_bare(said))) or (number and is_question(said[number.end() :])):
            strong.append(no)
        elif said[0] not in "\"“«„'" and is_question(said) and not _GOES_ON.match(said) and not asks(next_):
            plain.append(no)
    return {firsts[no] for no in (*strong, *(plain if _is_faq(paragraphs, plain) else ()))}


def _is_faq(paragraphs: Sequence[str], asked: Sequence[int]) -> bool:
    """Whether paragraphs seem to be plain questions with their answers."""
    if len(asked) < 2 or asked[0] > _BEFORE or len(paragraphs) - asked[0] > _EACH * len(asked):
        return False
    if len(asked) == 2 and any(len(said) > _LONG for said in paragraphs[: asked[0]]):
        return False  # prose may ask twice
    ends = [*asked[1:], len(paragraphs)]
    long = sum(sum(map(len, paragraphs[no + 1 : end])) > _LONG for no, end in zip(asked, ends, strict=True))
    before = Counter(paragraphs[no - 1] for no in asked if no)
    short = {said: many for said, many in before.items() if len(said) < _LONG}
    named = any(many > 1 or said.endswith((":", "：")) or _TIME.search(said) for said, many in short.items())
    return 2 * long >= len(asked) and not named and not _signed(paragraphs)


def _signed(paragraphs: Sequence[str]) -> bool:
    """Whether names stand alone in lines: below all, as in a mail, or two again and again, as of those who talk."""
    names = Counter(
        said for said in paragraphs if _NAME.match(said) and all(word[0].isupper() for word in said.split())
    )
    return paragraphs[-1] in names or sum(many > 1 for many in names.values()) > 1


def _talk(paragraphs: Sequence[str]) -> bool:
    """Whether paragraphs are of a mail, or of those who talk with each other."""
    lines = [line for said in paragraphs for line in said.split("\n")]
    if any(_TALK.match(line) for line in lines):
        return True
    named = Counter(name[1] for line in lines if (name := _SPEAKER.match(line)) is not None)
    turns = [many for many in named.values() if many > 1]
    return len(turns) > 1 and 3 * sum(turns) > len(paragraphs)


def _bare(line: str) -> str:
    """A line without the marks of bold letters and its number."""
    words = line.strip("*_ \t\r")
    number = _NUMBER.match(words)
    return words[number.end() :] if number else words


def _paragraph(lines: Sequence[str], at: int) -> str:
    end = at
    while end < len(lines) and lines[end].strip():
        end += 1
    return "\n".join(lines[at:end]).rstrip()
