"""The words that tell what a request is about. Data only: English first, the commonest of its neighbours beside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .types import Kind


def _by_word(groups: Mapping[str, str]) -> Mapping[str, str]:
    """Each word's first group."""
    found: dict[str, str] = {}
    for group, words in groups.items():
        for word in words.split():
            found.setdefault(word, group)
    return MappingProxyType(found)


# fmt: off
KINDS = _by_word(
    {
        Kind.SUMMARISE: "summarise summarize summarised summarized summary summaries tldr condense shorten gist "
                        "zusammenfassen zusammenfassung fasse résume résumé resumen",
        Kind.TRANSLATE: "translate translation translated übersetze übersetzen übersetzung traduis traduire traduction "
                        "traduce traducir traduci",
        Kind.EXTRACT: "extract extraction parse fields entities extrahiere extraire extraer ner invoice receipt",
        Kind.CLASSIFY: "classify classification categorise categorize category label sentiment spam moderate triage "
                       "klassifiziere clasifica",
        Kind.CODE: "code function python javascript typescript java rust golang sql regex bug compile compiler debug "
                   "refactor unittest pytest api class implement program programming script algorithm stacktrace "
                   "traceback exception repository git docker bash html css",
        Kind.MATHS: "solve equation equations integral derivative prove proof theorem compute calculate probability "
                    "matrix polynomial triangle angle sum product remainder divisor prime modulo arithmetic geometry "
                    "algebra percent percentage fraction berechne calcule calcula",
        Kind.REASON: "reason reasoning deduce infer puzzle riddle logic analyse analyze compare evaluate assess argue "
                     "plan strategy tradeoff tradeoffs decide diagnose analysiere",
        Kind.WRITE: "write draft compose essay story poem email letter blog article slogan rewrite rephrase paraphrase "
                    "schreibe écris escribe scrivi",
        Kind.QUESTION: "what which who whom whose where when why how does did was were answer question choose correct "
                       "following wer wo warum quelle quel qué cuál",
        Kind.CHAT: "hi hello hey thanks thank hallo danke bonjour merci hola gracias ciao",
    }
)
# fmt: on
WEIGHTS: Mapping[str, float] = MappingProxyType({Kind.QUESTION: 0.35, Kind.CHAT: 0.6, Kind.CODE: 0.8, Kind.MATHS: 0.8})
"""What one word of a kind counts; 1 if not named. A question word says little beside any other."""

HARD = frozenset({
    "analyse", "analyze", "architect", "compare", "complexity", "concurrent", "constraints", "derive", "design",
    "distributed", "edge", "evaluate", "explain", "integral", "optimise", "optimize", "proof", "prove", "reason",
    "rigorous", "theorem", "tradeoff", "tradeoffs", "why",
})  # fmt: skip
"""Words of requests that small models fail at more often."""

LANGUAGES = _by_word(
    {
        "en": "the and of to is that for with this are you it what",
        "de": "der die das und ist nicht ein eine mit für auf dem den wie ich sie zu",
        "fr": "le la les et est une des pour dans que qui vous je pas du sur",
        "es": "el los las y es una por con para del como qué cómo está",
        "it": "il che di è per non sono della gli come questo",
        "pt": "o os um uma não com para você são mais isso",
        "nl": "het een van niet zijn voor aan dat wat ik jij op",
    }
)
SCRIPTS = (
    ("ja", 0x3040, 0x30FF),
    ("ko", 0xAC00, 0xD7AF),
    ("zh", 0x4E00, 0x9FFF),
    ("ru", 0x0400, 0x04FF),
    ("ar", 0x0600, 0x06FF),
    ("he", 0x0590, 0x05FF),
    ("hi", 0x0900, 0x097F),
    ("el", 0x0370, 0x03FF),
    ("th", 0x0E00, 0x0E7F),
)
"""Languages that their script tells, by code points, both ends included; Japanese before Chinese."""
