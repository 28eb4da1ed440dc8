"""The sections of a FAQ or a questionnaire without marks: in each the numbers of the questions begin anew. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence, Set

__all__ = ["sections"]


def sections(
    numbers: Mapping[int, int],
    firsts: Sequence[int],
    titles: Set[int],
    others: Sequence[int],
    prose: Callable[[int], bool],
) -> dict[int, int]:
    """Of each numbered question, by its line, the line of the title that it surely stands under; -1 for none. `firsts`:
    where paragraphs begin; `others`: what may be another title, after which nothing is sure until the next section.
    """
    found, over, last = dict[int, int](), -1, (-1, 0)
    for at, number in sorted(numbers.items()):
        if number == 1:
            over = _title(at, firsts, titles, prose)
        elif number <= last[1] or bisect_left(others, at) > bisect_left(others, last[0]):
            over = -1
        found[at] = over
        last = (at, number)
    return found


def _title(at: int, firsts: Sequence[int], titles: Set[int], prose: Callable[[int], bool]) -> int:
    """The title right above a question, or with a paragraph of prose between; -1 for none."""
    if at - 1 in titles:
        return at - 1
    no = bisect_left(firsts, at)
    if no == len(firsts) or firsts[no] != at:
        return -1  # within a paragraph
    for before in (no - 1, no - 2):
        if before < 0 or firsts[before] in titles:
            return firsts[before] if before >= 0 else -1
        if not prose(firsts[before]):
            return -1
    return -1
