"""What a choice among candidates costs and how often it is right: `python -m bench.delegating [BANKING_FOLDER]`.

The CPU of one choice with 20 and with 1,000 candidates, the record included, the panel made before. With a folder that
has `banking77.train.csv` and `banking77.dev.csv` (Casanueva et al. 2020): 77 candidates, one for each intent, described
by its name; how often the right one is the first choice, with none, one, three and ten examples each, and after the
outcomes of so many requests that went to the candidate chosen.
"""

from __future__ import annotations

import csv
import random
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from segue.agent.delegation.choosing import DEFAULT
from segue.agent.delegation.delegates import Delegate, delegates
from segue.agent.delegation.panel import Panels
from segue.core.records import Decision
from segue.routing import Features, Request
from segue.routing.embedding import Grams
from segue.routing.fitness import Described, Fitness, Outcome, Past

WORDS = (
    "invoice", "refund", "card", "weather", "letter", "tax", "travel", "hotel", "order", "parcel", "repair", "garden",
    "music", "poem", "contract",
)  # fmt: skip
REQUEST = "Please refund the order that came with a broken card, and say when the money is back."


async def does(request: str) -> str:
    return request


def choosing(many: int, outcomes: int = 1000, times: int = 60) -> tuple[float, float, float]:
    """CPU ms of making the panel, and of one choice: the median and the slowest of 20."""
    chance = random.Random(1)
    grams, past = Grams(), Past()
    past.put(Outcome(grams.embed(" ".join(chance.sample(WORDS, 4))), f"who{chance.randrange(many)}", 1.0)
             for _ in range(outcomes))  # fmt: skip
    among = delegates(
        Delegate(does, f"who{n}", about=f"Handles {' and '.join(chance.sample(WORDS, 3))} for department {n}.",
                 examples=[" ".join(chance.sample(WORDS, 5)), " ".join(chance.sample(WORDS, 5))])
        for n in range(many)
    )  # fmt: skip
    panels = Panels(grams, past)
    began = time.thread_time()
    panels.of(among, {})
    made = time.thread_time() - began
    took: list[float] = []
    for n in range(times):
        began = time.thread_time()
        panel = panels.of(among, {})
        decision = panel.decide(Request(text=f"{REQUEST} {n}", route="delegate"), DEFAULT, luck=0.5)
        assert isinstance(decision, Decision) and decision.choice is not None
        took.append(time.thread_time() - began)
    return 1e3 * made, 1e3 * statistics.median(took), 1e3 * sorted(took)[-max(1, times // 20)]


def read(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def right(fitness: Fitness, rows: list[tuple[str, str]], grams: Grams) -> tuple[float, float]:
    """The share of the requests whose candidate is the first, and among the first three."""
    names = [one.name for one in fitness.candidates]
    first = three = 0
    for text, wanted in rows:
        mean, _, _ = fitness.predict(Features(text=text, embedding=grams.embed(text)), names)
        order = np.argsort(-np.asarray(mean), kind="stable")[:3].tolist()
        first += names[order[0]] == wanted
        three += wanted in [names[at] for at in order]
    return first / len(rows), three / len(rows)


def accuracy(folder: Path) -> None:
    chance, grams = random.Random(1), Grams()
    train, dev = read(folder / "banking77.train.csv"), read(folder / "banking77.dev.csv")
    chance.shuffle(train)
    names = sorted({name for _, name in train})
    texts = {name: [text for text, of in train if of == name] for name in names}
    for examples in (0, 1, 3, 10):
        fitness = Fitness([Described(n, "", texts[n][:examples]) for n in names], grams)
        first, three = right(fitness, dev, grams)
        print(f"| {examples} examples each | {first:.3f} | {three:.3f} |")
    past = Past()
    said: list[Outcome] = []
    for n, (text, wanted) in enumerate(train[:2000], 1):
        row = grams.embed(text)
        fitness = Fitness([Described(n, "") for n in names], grams, past) if n == 1 else fitness
        mean, _, _ = fitness.predict(Features(text=text, embedding=row), names)
        chosen = names[int(np.argmax(np.asarray(mean)))]
        said.append(Outcome(row, chosen, float(chosen == wanted)))
        if chosen != wanted:  # whoever handled it in the end
            said.append(Outcome(row, wanted, 1.0))
        if n % 20 == 0:
            past.put(said)
        if n in (200, 1000, 2000):
            first, three = right(fitness, dev, grams)
            print(f"| no examples, {n} requests judged | {first:.3f} | {three:.3f} |")


def main() -> int:
    print("| candidates | panel, once: CPU ms | a choice: CPU ms, median | slowest of 20 |")
    for many in (20, 1000):
        made, median, slow = choosing(many)
        print(f"| {many} | {made:.1f} | {median:.2f} | {slow:.2f} |")
    if len(sys.argv) > 1:
        print("| banking77, 77 candidates | first | among three |")
        accuracy(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
