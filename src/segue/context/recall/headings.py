"""The headings of a text: with marks, underlined, numbered, in capitals, a question, or a short line by itself. Pure.

Where it is not certain that a line is a heading, or of what level, nothing is said to stand under it, or under another.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise

from .code import Beside
from .columns import columns
from .open import AGAIN, ALONE, COLON, NUMBER, ONCE, TITLE, Heading
from .questions import LONGEST, answered, asks, is_question, listed
from .sections import sections
from .underlines import EXACT, levels, unclear, underline

__all__ = ["LONE", "headings", "heads_clause"]

LONE = re.compile(r"#{1,6} |(?:[1-9][\d.]{0,7} )?\S[^\n.!?]{0,60}:?$")
"""A paragraph of one line that may be a heading; a text is cut before it."""
_LINE = 80
_COMMENTS = 20
"""Lines of a comment above a table."""
_MARKED = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t#]*$")
_BOLD = re.compile(r"(\*\*|__)([^*_]+)\1:?$")
_BOLD_NUMBER = re.compile(r"^(\*\*|__)([(\d.)]+|[a-z]\))\1")
_KINDS = (
    "Chapter|Section|Article|Part|Topic|Item|Agenda item|Kapitel|Abschnitt|Artikel|Teil|Thema|Punkt|TOP|Chapitre|"
    "Partie|Capítulo|Sección|Artículo|Capitolo|Sezione|Articolo|Глава|Раздел|Статья|§+"
)
_NUMBERED = re.compile(
    rf"(?:({_KINDS}) ?)?\(?([1-9]\d?(?:\.(?:[1-9]|1\d))*|[a-z](?=\)))([.:]|\.?\)|\s*[-–—])?\s+(\S.{{0,120}})$"
)
_PART = re.compile(rf"(?:{_KINDS}|{_KINDS.upper()}) (?:[A-Z]|[IVX]+|\d\d?)(?:[.:)]|\s?[-–—])\s+(?=\w)")
_COUNT = re.compile(r"\W{0,2}[^\W\d_]{1,10} ?(\d{1,3})\b")
"""The number of a question with a mark: `Q1:`."""
_SENTENCE = re.compile(r"[.!?;]\s|[。！？；|\t@]|://|: ")
_ENDS = ".!?:;,。！？…：；，、"
_BREAK = re.compile(r"(?:[-*_=] ?){3,}\S*.*$|(?:From|Sent|Subject|Von|Gesendet|Betreff|De|Objet|Asunto): ")
"""What may begin something else: a rule, an item in bold letters, another mail."""
_ITEM = re.compile(r"[-*+]\s")
_FIELD = re.compile(r"[A-Z][\w-]{1,40}: |\s")
"""A line of what stands before a text: the name and the value of a field."""


def heads_clause(line: str, below: str) -> bool:
    """Whether a line is the heading of a numbered clause that begins right below: `1. Fees`, `1.1 The buyer pays`."""
    number = _NUMBERED.match(line) if line[:1].isdigit() else None
    return number is not None and _is_title(number[4]) and re.match(rf"{re.escape(number[2])}\.1\b", below) is not None


def headings(lines: Sequence[str], code: Sequence[bool], fenced: Sequence[bool]) -> Mapping[int, Heading]:
    """The headings of a text, by their lines."""
    if lines[0].startswith("#!"):
        return {}
    said = [at for at, line in enumerate(lines) if line.strip() and not fenced[at]]
    all_code = 2 * sum(code[at] for at in said) > len(said)
    beside, found = Beside(lines, code), dict[int, Heading]()
    for at in said:
        if lines[at][0] == "#" and (one := _marked(lines, at, beside, all_code)) is not None:
            found[at] = one
    if all_code:
        return found
    titles = [at for at in said if lines[at][0] != "#" and not code[at] and not any(fenced[at : at + 2])]
    found |= _underlined(lines, titles, bool(found))
    return _plain(lines, said, found) | found


def _marked(lines: Sequence[str], at: int, beside: Beside, all_code: bool) -> Heading | None:
    """A heading with marks; none where these begin a comment."""
    marked = _MARKED.match(lines[at])
    words = marked[2].strip("-=* ") if marked is not None else ""
    if marked is None or not words or words.endswith(";") or _on_table(lines, at):
        return None
    before, after = beside(at)
    alone = not _line(lines, at - 1).strip() and not _line(lines, at + 1).strip()
    comment = (before and after) or (all_code and (before or after) and not (alone and not after))
    return None if comment else Heading(len(marked[1]), words)


def _on_table(lines: Sequence[str], at: int) -> bool:
    """Whether a line is a comment right above the names of columns: with others, or in small letters."""
    level, end = lines[at][: len(lines[at]) - len(lines[at].lstrip("#"))] + " ", at
    while end < min(at + _COMMENTS, len(lines)) and lines[end].startswith(level):
        end += 1
    more = end > at + 1 or _line(lines, at - 1).startswith(level) or lines[at].lstrip("# ")[:1].islower()
    return more and "|" not in _line(lines, end) and bool(_line(lines, end) and columns(lines, end))


def _underlined(lines: Sequence[str], some: Sequence[int], marks: bool) -> dict[int, Heading]:
    """The headings with a line of signs below them; in Markdown, which has `marks`, only of its own signs."""
    signs = {at: sign for at in some if (sign := underline(lines, at)) and not _BREAK.match(lines[at])}
    signs = {at: sign for at, sign in signs.items() if sign in "=-" or not marks}
    if {*signs.values()} <= {*EXACT}:
        return {}  # a form has lines where something is to be filled in
    ends = unclear(lines, some, signs)
    signs = {at: sign for at, sign in signs.items() if at - 1 not in ends}
    notices, made = _notices(lines, signs), dict[int, Heading]()
    sure = [at for at in signs if at not in notices]
    of, next_ = dict(zip(sure, levels([*map(signs.__getitem__, sure)]), strict=True)), 1
    for at, sign in reversed(signs.items()):
        next_ = of.get(at, next_)
        if sure:  # a notice ends what stands beside the title that comes next
            made[at - (len(sign) > 1)] = Heading(next_, lines[at].strip() if at in of else "")
    of_all = sure and min(sure) < min(ends, default=0) and [*map(signs.get, sure)].count(signs[min(sure)]) == 1
    return made | dict.fromkeys(ends if sure else (), Heading(2 if of_all else 1, ""))


def _notices(lines: Sequence[str], signs: Mapping[int, str]) -> set[int]:
    """Which lines between two of signs may be notices: those of a kind of their own, unless they come first; in a text
    with no other signs also two of a kind that are not named alike.
    """
    first, boxes = min(signs, default=-1), {at: sign for at, sign in signs.items() if len(sign) > 1}
    under, said = len(boxes) < len(signs), dict[str, set[str]]()
    for at, sign in boxes.items():
        if under or at != first:
            said.setdefault(sign, set()).add(lines[at].strip())
    sure = {sign for sign, of in said.items() if len(of) > 1}
    if first in boxes and any(one.split()[0] == lines[first].split()[0] for one in said.get(signs[first], ())):
        sure |= set() if under else {signs[first]}
    top = under or all(_FIELD.match(line) for line in lines[: first - 1] if line.strip())
    return {at for at, sign in boxes.items() if sign not in sure and not (at == first and top)}


@dataclass(frozen=True, slots=True)
class _Lone:
    """A paragraph of one line that may be a heading."""

    at: int
    words: str
    number: tuple[int, ...] = ()
    kind: str = ""
    """What stands beside the number."""
    strong: bool = False
    """Bold, or in capitals."""
    asked: bool = False
    """A question that surely has its answer below."""


def _plain(lines: Sequence[str], said: Sequence[int], marked: Mapping[int, Heading]) -> dict[int, Heading]:
    """Headings without marks, each in a paragraph of its own."""
    asked = {at: Heading(ALONE, words) for at, words in listed(lines, said).items() if at not in marked}
    found, lone, marks = dict(asked), list[_Lone](), bool(marked) and not _is_banner(lines, marked)
    firsts = [at for at in said if not _line(lines, at - 1).strip()]
    alone = {at for at, _ in pairwise(firsts) if not _line(lines, at + 1).strip()}
    after, sure = dict(pairwise(firsts)), _questions(lines, firsts, marked)
    begins = {at for at, one in asked.items() if (_counted(one.words) or ("", 0))[1] == 1}
    for at in firsts:
        line = lines[at].rstrip()
        if at in asked or _holds(lines, at):
            continue
        if at in marked or _BREAK.match(line):
            found[at] = Heading(TITLE, "")
        elif len(line) > (LONGEST if asks(line) else _LINE) or line[0].isspace() or at not in alone:
            continue
        elif line.endswith((":", "：")) and _is_title(line[:-1].strip("*_ ")):
            found[at] = Heading(COLON, line[:-1].strip("*_ "), upto=_end(lines, after[at]))
        elif (one := _lone(at, line, sure)) is not None and (after[at] in asked or not _breaks(lines, after[at])):
            lone.append(one)
    for at in said:
        over = heads_clause(lines[at], _line(lines, at + 1)) or (at in after and at + 1 in begins)
        if over and (one := _lone(at, lines[at].rstrip(), sure)) is not None:
            lone.append(one)
            after[at] = at + 1
    found |= _numbered(lines, sorted((one for one in lone if one.number), key=lambda one: one.at), after)
    answers = {after[one.at] for one in lone if one.asked}
    titles = [one for one in lone if not one.number and (one.strong or one.asked or not marks)]
    titles = [one for one in titles if one.strong or one.asked or one.at not in answers]
    numbers = [at for at, one in found.items() if one.number]
    if numbers or len(titles) > 1 or any(one.strong for one in titles):
        found |= _titled(lines, titles, after, numbers, marks)
    heads = {*asked, *(one.at for one in lone if one.asked)}
    over = [one for one in titles if not one.asked and after.get(one.at) in heads]
    if over and not marks and [one.at for one in over] == firsts[:1]:  # of several, each is of a section
        found[firsts[0]] = Heading(TITLE, over[0].words)
    return found | _sectioned(lines, firsts, _Found(found, {one.at: one for one in lone}, {*asked}, marks))


def _is_banner(lines: Sequence[str], marked: Mapping[int, Heading]) -> bool:
    """Whether the only title that is marked is a line between two of signs: that of all, or a notice."""
    tops = [at for at, one in marked.items() if one.words]
    return len(tops) == 1 and tops[0] + 1 < len(lines) and len(underline(lines, tops[0] + 1)) > 1


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of the headings of a text without marks, by their lines."""

    headings: Mapping[int, Heading]
    lone: Mapping[int, _Lone]
    listed: Set[int]
    marks: bool
    """Whether the text has headings with marks, too."""

    def asked(self, at: int) -> bool:
        """Whether a heading is a question."""
        return at in self.listed or (at in self.lone and self.lone[at].asked)

    def titles(self, answers: Set[int]) -> dict[int, str]:
        """What questions may stand under."""
        titles = {at: one.words for at, one in self.lone.items() if not one.asked and at not in answers}
        broken = {
            at for at, one in self.headings.items() if not one.words and not (at in titles and self.lone[at].strong)
        }
        colons = {at: one.words for at, one in self.headings.items() if one.level == COLON}
        return {at: words for at, words in (titles | colons).items() if at not in broken}


def _sectioned(lines: Sequence[str], firsts: Sequence[int], of: _Found) -> dict[int, Heading]:
    """What changes where titles surely have questions under them, since the numbers of these begin anew there."""
    counted = {
        at: number
        for at, one in of.headings.items()
        if (of.asked(at) or len(one.number) == 1) and (number := _counted(one.words))
    }
    kinds = {kind for at, (kind, _) in counted.items() if of.asked(at)}
    numbers = {at: number for at, (kind, number) in counted.items() if kind in kinds}
    after = dict(pairwise(firsts))
    titles = of.titles(
        {after[at] for at in numbers if of.asked(at) and at in after and not _line(lines, at + 1).strip()}
    )
    titles = {at: words for at, words in titles.items() if at not in numbers}
    others = sorted(at for at, one in of.headings.items() if at not in numbers and one.level in (ALONE, NUMBER))
    under = sections(numbers, firsts, {*titles}, others, lambda at: at not in of.headings and _is_prose(lines, at))
    tops = {*under.values()} - {-1}
    if not tops or (len(tops) == 1 and not _is_sure(min(tops), [*under.values()], of)):
        return {}
    made = {at: Heading(ONCE, titles[at]) for at in tops}
    colons = any(of.headings[at].level == COLON for at in tops if at in of.headings)
    for at, one in of.headings.items():
        if at in numbers:
            known = under[at] >= 0
            made[at] = Heading(NUMBER if known else ONCE, one.words, (numbers[at],) if known else ())
        elif at in tops:
            made[at] = replace(made[at], level=AGAIN if one.level == AGAIN else ONCE)
        elif one.level == NUMBER and len(one.number) == 1:
            made[at] = Heading(ONCE, one.words)
        elif one.level == COLON and colons:
            made[at] = Heading(ONCE, "")  # a section, or a part of an answer
    if len(tops) > 1 and not of.marks and firsts[0] in titles and after.get(firsts[0]) in tops - {firsts[0]}:
        made[firsts[0]] = Heading(TITLE, titles[firsts[0]])
    return made


def _is_sure(top: int, under: Sequence[int], of: _Found) -> bool:
    """Whether a title that alone has questions under it is one, and what follows may stand under it as well."""
    level = of.headings[top].level if top in of.headings else ALONE
    strong = top in of.lone and of.lone[top].strong
    return under.count(top) > 1 and level not in (TITLE, COLON) and (strong or not of.marks)


def _is_prose(lines: Sequence[str], at: int) -> bool:
    """Whether a paragraph is surely no title."""
    line = lines[at].rstrip()
    return len(line) > _LINE or line[-1] in _ENDS or bool(_line(lines, at + 1).strip())


def _counted(words: str) -> tuple[str, int] | None:
    """The kind of number that words begin with, and which one; nothing for none, or one of several levels."""
    number, mark = _NUMBERED.match(words), _COUNT.match(words)
    if number is None or "." in number[2]:
        return ("Q", int(mark[1])) if number is None and mark else None
    if number[2].isalpha():
        return "a)", ord(number[2]) - ord("a") + 1
    return (number[1] or number[3] or "").strip(), int(number[2])


def _breaks(lines: Sequence[str], at: int) -> bool:
    """Whether something else may begin in a line."""
    return _BREAK.match(lines[at]) is not None and not _holds(lines, at)


def _holds(lines: Sequence[str], at: int) -> bool:
    """Whether a line begins an item of a list with something in it below: it encloses that, and is no heading."""
    if _ITEM.match(lines[at]) is None or not any(map(str.isalnum, lines[at])):
        return False
    below = next((line for line in map(lines.__getitem__, range(at + 1, len(lines))) if line.strip()), "")
    return below[:1].isspace()


def _questions(lines: Sequence[str], firsts: Sequence[int], marked: Mapping[int, Heading]) -> set[int]:
    """Which paragraphs are questions that surely head what follows: in each section by itself."""
    found, section = set[int](), list[int]()
    for at in [*firsts, -1]:
        if at in marked or at < 0:
            found |= answered(lines, section)
            section = []
        if at not in marked:
            section.append(at)
    return found


def _lone(at: int, line: str, sure: Set[int]) -> _Lone | None:
    """What a paragraph of one line may be the heading of; `sure`: the questions that are headings."""
    bold = _BOLD.match(line)
    words = bold[2].strip() if bold else _BOLD_NUMBER.sub(r"\2", line)
    number = _NUMBERED.match(words)
    if number is not None:
        kind = number[1] or number[3] or ""
        asked = at in sure and is_question(number[4])
        if not (asked or (_is_title(number[4]) and not kind.endswith(")"))):
            return None
        if number[2].isalpha():
            return _Lone(at, words, (ord(number[2]) - ord("a") + 1,), "a)", bool(bold), asked)
        return _Lone(at, words, tuple(map(int, number[2].split("."))), kind, bool(bold), asked)
    if at in sure:
        return _Lone(at, words, strong=bool(bold), asked=True)
    part = _PART.match(words)
    if not _is_title(words[part.end() :] if part else words) or not words[0].isupper():
        return None
    return _Lone(at, words, strong=bool(bold) or (words.isupper() and len(words) > 3))


def _is_title(words: str) -> bool:
    """Whether words have the form of a title: a capital first where the script has them, and no end of a sentence."""
    first = words[:1]
    if not first.isalpha() or first.islower() or len(words) > 60 or len(words.split()) > 8 or words[-1] in _ENDS:
        return False
    return not _SENTENCE.search(words) and sum(map(str.isalpha, words)) > 1


def _numbered(lines: Sequence[str], some: Sequence[_Lone], after: Mapping[int, int]) -> dict[int, Heading]:
    """Which paragraphs with a number are headings: one after the other, and something stands below each."""
    found, by_line, last = dict[int, Heading](), {one.at: one for one in some}, dict[str, int]()
    bare = {one.number[0] for one in some if not one.kind and len(one.number) == 1}
    beside = set[int]()
    for one in some:
        next_ = by_line.get(after[one.at])
        if next_ is not None and len(next_.number) == len(one.number) and next_.number > one.number:
            beside |= {one.at, next_.at}
    for one in some:
        first, deep = one.number[0], len(one.number) > 1
        if one.at in beside:  # a list, or headings with nothing below them
            if deep or first > 1:
                found[one.at] = Heading(TITLE, "")
        elif lines[after[one.at]][0].isspace() and not one.strong:
            continue
        elif deep or first == 1 or first > last.get(one.kind, 99):
            if deep or one.kind or {1, 2} <= bare:
                found[one.at] = Heading(NUMBER, one.words, one.number)
                last[one.kind] = first if not deep else last.get(one.kind, 99)
        else:
            found[one.at] = Heading(TITLE, "")
    return found


def _titled(
    lines: Sequence[str], some: Sequence[_Lone], after: Mapping[int, int], numbers: Sequence[int], marks: bool
) -> dict[int, Heading]:
    """Which paragraphs without a number are headings, and whether one stands under another."""
    found = {one.at: Heading(ALONE, one.words) for one in some}
    before = {at: no for no, at in after.items()}
    count = Counter(one.words.casefold() for one in some)
    first = some[0].at if some and some[0].at not in before else -1
    asked = {one.at for one in some if one.asked}
    once = {one.at for one in some if count[one.words.casefold()] == 1}
    near = [after[first], after.get(after[first])] if first in once and len(lines[after[first]]) <= _LINE else []
    counted = {*numbers} if numbers and asks(lines[numbers[0]].rstrip()) else set[int]()  # else no FAQ
    if not marks and numbers and numbers[0] in near and sum(after.get(one.at) in counted for one in some) < 2:
        found[first] = replace(found[first], level=TITLE)
    rest = [one for one in some if one.at != first or after[first] not in once]  # without the title of all
    if not marks and not numbers and _clear(rest, once):
        found |= {one.at: Heading(ONCE if one.at in once else AGAIN, one.words) for one in rest}
    for at in found:
        over = before.get(at, -1)
        chain = at in once and over in once and over != first and (at not in asked or over in asked)
        if chain or (over >= 0 and lines[over].rstrip().endswith(",")):
            found[at] = Heading(TITLE, "")  # a name below a greeting
    return found


def _clear(some: Sequence[_Lone], once: Set[int]) -> bool:
    """Whether titles that occur again stand under those that occur once: the same one is the first under each of these.
    One with none of them may have one that occurs once, with what seems to be of that: then they must be named alike.
    """
    blocks = list[tuple[str, list[str]]]()
    for one in some:
        if one.at in once:
            blocks.append((one.words.split()[0], []))
        elif not blocks or one.words in blocks[-1][1]:
            return False
        else:
            blocks[-1][1].append(one.words)
    full = [(name, under) for name, under in blocks if under]
    if len(full) < 2 or len({under[0] for _, under in full}) > 1:
        return False
    return all(under for _, under in blocks[:-1]) or len({name for name, _ in full}) == 1


def _end(lines: Sequence[str], at: int) -> int:
    """The line after a paragraph."""
    return next((to for to in range(at, len(lines)) if not lines[to].strip()), len(lines))


def _line(lines: Sequence[str], at: int) -> str:
    return lines[at] if 0 <= at < len(lines) else ""
