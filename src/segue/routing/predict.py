"""What is expected of each candidate: quality, cost and latency, each with its uncertainty. Pure, over columns.

What was learned speaks where it knows something; else quality is the catalogue's prior, cost follows from the price,
and latency from health and the length of the answer. Standard deviations are of the prediction, so that a candidate of
which nothing is known is uncertain, not bad.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .arrays import Rows, Vector, numbered
from .table import PRIOR_SD, Situation, Table
from .types import Conversation, Features, Kind, Predictions, Predictor, Request, Spread

__all__ = ["expected_output", "likely_lengths", "predict"]

_OUTPUT: Mapping[str, int] = {
    Kind.CLASSIFY: 12, Kind.EXTRACT: 150, Kind.QUESTION: 180, Kind.CHAT: 80, Kind.SUMMARISE: 220, Kind.MATHS: 320,
    Kind.REASON: 420, Kind.WRITE: 450, Kind.CODE: 480,
}  # fmt: skip
"""Tokens of an answer by kind of task, where nobody knows better."""
_OUTPUT_ANY = 250
_OUTPUT_SPREAD = 0.8
"""Their standard deviation, as a share."""
_THOUGHT, _THOUGHT_SD = 0.5, 0.29
"""Of what is set aside for thinking, how much is used: anything is as likely, as far as nobody knows better."""
_INPUT_SPREAD = 0.1
"""Of a number of input tokens that is estimated."""

CACHE_TTL_S = 300.0
"""A provider keeps a prefix for about five minutes after its last use."""
_CACHE_HIT = 0.9
"""How often it is then found."""

_TTFT_S, _TOKENS_PER_S, _LATENCY_SPREAD = 0.8, 60.0, 0.6
_P95_TO_MEAN = 0.5
"""Of a log-normal with a spread of half its size, which is how latencies fall."""
_WELL_KNOWN = 20.0
"""The observations that a p95 stands for."""


def expected_output(request: Request, features: Features) -> tuple[float, float]:
    """Mean and standard deviation of the tokens of an answer, before anything is learned."""
    if request.tokens_out is not None:
        mean = request.tokens_out
    elif features.kind == Kind.TRANSLATE:
        mean = max(16.0, float(features.tokens))
    else:
        mean = _OUTPUT.get(features.kind, _OUTPUT_ANY)
    mean = min(float(mean), float(request.tokens_out_max))
    return mean, _OUTPUT_SPREAD * mean


def likely_lengths(at: Situation) -> Vector:
    """The tokens that each candidate's answer is not likely to exceed, a standard deviation above what is expected, by
    what was learned where that speaks; without what it thinks.
    """
    out = _output(_Who(at, np.arange(len(at.table)), at.table.names))
    most = np.minimum(out.mean + out.sd - at.table.thoughts * _THOUGHT, at.request.tokens_out_max)
    return np.maximum(most, 0.0)


def predict(at: Situation, rows: Rows) -> Predictions:
    """What is expected of the candidates at these places of the table, in their order."""
    who = _Who(at, rows, _names(at.table, rows))
    out = _output(who)
    held = _held(at.request.conversation, at.features, at.table)[rows]
    return Predictions(_quality(who), _cost(who, out, held), _latency(who, out), held * _CACHE_HIT)


class _Who(NamedTuple):
    """Whom a prediction is about, and in what situation."""

    at: Situation
    rows: Rows
    names: tuple[str, ...]


def _names(table: Table, rows: Rows) -> tuple[str, ...]:
    return table.names if len(rows) == len(table) else tuple(table.names[row] for row in numbered(rows))


def _quality(who: _Who) -> Spread:
    many = len(who.rows)
    prior = Spread(who.at.table.priors(who.at.features.kind)[who.rows], np.full(many, PRIOR_SD), np.zeros(many))
    learned = who.at.predictors.quality
    return prior if learned is None else _over(learned, who, prior, 1.0)


def _output(who: _Who) -> Spread:
    request = who.at.request
    mean, sd = expected_output(request, who.at.features)
    table = who.at.table
    thoughts = table.thoughts[who.rows]
    limit = np.minimum(table.max_output[who.rows], request.tokens_out_max + thoughts).astype(np.float64)
    means, sds = mean + thoughts * _THOUGHT, np.hypot(sd, thoughts * _THOUGHT_SD)
    prior = Spread(np.minimum(means, limit), np.minimum(sds, limit), np.zeros(len(limit)))
    learned = who.at.predictors.tokens_out
    if learned is None or request.tokens_out is not None:
        return prior
    said = _over(learned, who, prior, math.inf)
    return Spread(np.minimum(said.mean, limit), said.sd, said.n, said.source)


def _over(learned: Predictor, who: _Who, prior: Spread, high: float) -> Spread:
    """What was learned, from 0 to `high`, and the prior where that is silent."""
    said = learned.predict(who.at.features, who.names)
    mean, sd, n = (np.asarray(column, np.float64) for column in said)
    silent = ~np.isfinite(mean)
    if silent.any():
        mean, n = np.where(silent, prior.mean, mean), np.where(silent, prior.n, n)
    sd = np.where(silent | ~np.isfinite(sd), prior.sd, sd)
    return Spread(np.clip(mean, 0.0, high), np.maximum(sd, 0.0), np.maximum(n, 0.0), learned.version)


def _held(conversation: Conversation, features: Features, table: Table) -> Vector:
    """Tokens of the request's prefix that each model's cache should hold."""
    held = np.zeros(len(table))
    for name, has in conversation.held.items():
        if name in table.place and has.age_s < CACHE_TTL_S:
            held[table.place[name]] = min(has.tokens, features.tokens)
    return held


def _cost(who: _Who, out: Spread, held: Vector) -> Spread:
    """In USD. A hit is a chance, an estimated input and the output are uncertain; the three are independent."""
    features, table = who.at.features, who.at.table
    into, outof, read, write = table.rates(features.tokens)[:, who.rows]
    fresh = write if who.at.request.conversation.caching else into
    saved = held * (fresh - read)
    mean = table.per_request[who.rows] + features.tokens * fresh - _CACHE_HIT * saved + out.mean * outof
    doubt = 0.0 if features.counted else _INPUT_SPREAD * features.tokens
    variance = (out.sd * outof) ** 2 + (doubt * fresh) ** 2 + _CACHE_HIT * (1 - _CACHE_HIT) * saved**2
    return Spread(mean / 1e9, np.sqrt(variance) / 1e9, np.zeros(len(mean)), "price")


def _latency(who: _Who, out: Spread) -> Spread:
    """In seconds: by first token and speed where health knows them, else by its p95, else by a guess."""
    now, rows = who.at.conditions, who.rows
    p95, ttft, speed = now.p95_s[rows], now.ttft_s[rows], now.tokens_per_s[rows]
    timed, seen = np.isfinite(ttft) & np.isfinite(speed), np.isfinite(p95)
    length = np.where(np.isfinite(ttft), ttft, _TTFT_S) + out.mean / np.where(np.isfinite(speed), speed, _TOKENS_PER_S)
    mean = np.where(timed | ~seen, length, p95 * _P95_TO_MEAN)
    known = timed | seen
    source = "health" if known.any() else "prior"
    prior = Spread(mean, _LATENCY_SPREAD * mean, np.where(known, _WELL_KNOWN, 0.0), source)
    learned = who.at.predictors.latency
    said = prior if learned is None else _over(learned, who, prior, math.inf)
    return Spread(said.mean + now.wait_s[rows], said.sd, said.n, said.source)
