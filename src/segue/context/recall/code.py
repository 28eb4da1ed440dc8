"""Which lines of a text are code or configuration, and what of these may enclose the lines below it. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from .underlines import underline

__all__ = [
    "FENCE",
    "Beside",
    "begins_document",
    "closes_section",
    "encloses",
    "fenced",
    "is_bare",
    "is_code",
    "is_section",
    "manifest",
]

FENCE = re.compile(r"\s*(```|~~~)")
_MODIFIERS = (
    "export|default|async|public|private|protected|internal|static|final|abstract|override|virtual|sealed|partial|"
    r"unsafe|pub(?:\([^)]*\))?"
)
_BEGINS = rf"(?:(?:{_MODIFIERS})\s+)*(?:def|class|function|func|fn|interface|struct|enum|impl|trait|module|namespace)\b"
_CODE = re.compile(
    rf"\s*{_BEGINS}.*[({{:]\s*$|\s*{_BEGINS} \w+\(|#include\b|#!|(?:from \S+ )?import [\w.{{]+;?$"
    r"|\s*(?:export |const |let |var )?[\w.$\"'\[\]/-]+\s*(?:[-+:*]|:\s*\w+\s*)?=\s*\S"  # A=1, x += 1
    r"|\s*(?:- )?[\"']?[a-z_][\w./-]*[\"']?:(?:\s.{0,60})?$|\s+(?:- )?[\"']?[\w./-]+[\"']?:(?:\s.{0,60})?$"
    r"|.*[{};]$|\s*[\w.]+\(.*\)$|\s*[)\]}]+,?$|\[\[?[\w\"][\w .\"':/-]*\]\]?$"
    r"|\s*(?:if|elif|else|for|while|try|except|with|case|switch)\b.*[:{]$|\s*(?:return|raise|throw)\b.{0,40}$"
    r"|(?:FROM|RUN|COPY|ENV|CMD|WORKDIR|EXPOSE|ARG|ENTRYPOINT|ADD) \S|\t|.*\S -{1,2}[a-z]"
)
_CONTROL = re.compile(r"[)\]}]|(?:if|elif|else|for|while|do|switch|match|case|default|try|except|catch|finally|with)\b")
_OPENS = re.compile(rf"{_BEGINS}\s*\S|.*[:{{(\[]$|(?:[-*+]|\d+[.)])\s+\S|[^:]+:\s*[|>&]\S*$")
_SECTION = re.compile(r"\[\[?[\w\"][\w .\"':/-]*\]\]?$")
_BARE = re.compile(r"(?:- )?[\"']?[^\s\"']+[\"']?:?\s*[\[{|>]?[-+]?$")
_DOCUMENT = re.compile(r"---(?:\s+#.*)?\s*$")
_FIELD = re.compile(r"([ ]*(?:- )?)([A-Za-z_][\w.-]*):(?:\s+(\S.*))?$")
_MANIFEST = re.compile(r"[ ]*(?:- )?(?:apiVersion|kind): ")
_HEAD = 100
"""Lines of a manifest in which its kind and its name are looked for."""
_NEAR = 10
"""Lines before and after a line with `#` that tell whether it is a comment."""


def fenced(lines: Sequence[str]) -> list[bool]:
    """Of each line whether it stands within a fence, or is one; those of a sign are none where all are below titles."""
    made, open_, found = list[bool](), "", [FENCE.match(line) for line in lines]
    signs = {fence[1] for at, fence in enumerate(found) if fence and not (at and underline(lines, at - 1))}
    for fence in found:
        sign = fence[1] if fence and fence[1] in signs else ""
        made.append(bool(open_ or sign))
        if sign and open_ in ("", sign):
            open_ = "" if open_ else sign
    return made


def is_code(line: str) -> bool:
    """Whether a line looks like code or configuration."""
    return bool(line) and len(line) < 400 and _CODE.match(line.rstrip()) is not None


def is_bare(line: str) -> bool:
    """Whether a line that encloses others is a key, and no more."""
    return _BARE.match(line) is not None


class Beside:
    """Tells of lines whether they stand beside code."""

    def __init__(self, lines: Sequence[str], code: Sequence[bool]):
        self._places = [at for at, line in enumerate(lines) if line.strip() and line[0] != "#"]
        self._sums = [0, *accumulate(code[at] for at in self._places)]

    def __call__(self, at: int) -> tuple[bool, bool]:
        """Whether what stands before a line and what stands after it is mostly code; if nothing does, as the other."""
        mid, end = bisect_left(self._places, at), len(self._places)
        before, after = self._mostly(max(0, mid - _NEAR), mid), self._mostly(mid, min(end, mid + _NEAR))
        return (before if mid else after), (after if mid < end else before)

    def _mostly(self, first: int, last: int) -> bool:
        return 2 * (self._sums[last] - self._sums[first]) > last - first


def encloses(lines: Sequence[str], at: int) -> str:
    """What a line says that may enclose those below it which stand further in; empty for none. Of a brace on a line of
    its own it is the line before.
    """
    said = lines[at].strip()
    if said == "{" and at:
        over = lines[at - 1]
        same = len(over) - len(over.lstrip()) == len(lines[at]) - len(lines[at].lstrip())
        said = over.strip() if same and not over.rstrip().endswith((";", "}", "{", ",")) else ""
        return "" if _CONTROL.match(said) else said
    return said if _OPENS.match(said) and not _CONTROL.match(said) and said not in "{[(" else ""


def is_section(lines: Sequence[str], at: int) -> bool:
    """Whether a line begins a section of INI or TOML: what stands in it are keys with values."""
    if lines[at][:1] != "[" or _SECTION.match(lines[at].rstrip()) is None:
        return False
    after = next((line for line in lines[at + 1 : at + _NEAR] if line.strip() and line[0] not in "#;"), "")
    return "=" in after or _SECTION.match(after.rstrip()) is not None


def closes_section(line: str) -> bool:
    """Whether a line is neither key nor value nor comment of a section."""
    return bool(line.strip()) and not line[0].isspace() and line[0] not in "#;)]}" and "=" not in line


def begins_document(lines: Sequence[str], at: int) -> bool:
    """Whether a line parts a document of YAML from the one before it."""
    if lines[at][:3] != "---" or _DOCUMENT.match(lines[at]) is None:
        return False
    after = next((line for line in lines[at + 1 : at + _NEAR] if line.strip() and line[0] != "#"), " ")
    return not after[0].isspace() and _FIELD.match(after.rstrip()) is not None


def manifest(lines: Sequence[str], at: int) -> tuple[int, str]:
    """How far in the fields of a manifest stand that begins in a line, and its kind and name; nothing, if none does."""
    first = _FIELD.match(lines[at].rstrip()) if _MANIFEST.match(lines[at]) else None
    inside, said, over = len(first[1]) if first else 0, dict[str, str](), ("", 0)
    for line in lines[at : at + _HEAD] if first else ():
        one = _FIELD.match(line.rstrip())
        stands = inside if not said else len(line) - len(line.lstrip())
        if line.strip() and (stands < inside or line.startswith("---")):
            break
        if one is None:
            continue
        if stands == inside and one[2] in said:
            break
        if stands == inside:
            said[one[2]], over = one[3] or "", (one[2], 0)
        elif over[0] == "metadata":
            over = ("metadata", over[1] or stands)
            if stands == over[1] and one[2] == "name" and one[3]:
                said["metadata"] = one[3]
        if said.get("kind") and said.get("metadata"):
            return inside, f"{said['kind']} {said['metadata']}"
    return inside, ""
