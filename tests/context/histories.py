"""Random histories as they happen: parallel calls, late and missing results, sealed thinking, summaries."""

from __future__ import annotations

from pathlib import Path
from random import Random

from segue.context.types import Budget, Kind, Part, Role, Target

TARGET = Target(model="ours", provider="openai")
SAID = "the invoice of March was paid late because nobody saw the reminder in the old queue and so on "
WORDS = (3 * SAID).split()


def kept(seeds: Path) -> list[int]:
    """The seeds of a file: one a line, with what it found behind it."""
    lines = seeds.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


class History:
    """One random history and a budget, from a seed."""

    def __init__(self, seed: int):
        self.luck = Random(seed)
        self.parts: list[Part] = []
        self.ids = 0
        self.late: list[Part] = []
        if self.luck.random() < 0.8:
            self.parts.append(Part(role=Role.SYSTEM, text=self.words(1, 12)))
        for turn in range(self.luck.randint(1, 14)):
            self.turn(turn)
        if self.luck.random() < 0.2:
            self.parts += self.luck.sample(self.parts, min(len(self.parts), 3))
        window = self.luck.choice((150, 400, 1000, 4000, 100_000))
        self.budget = Budget(
            window=window,
            reserved_out=self.luck.randint(0, window // 4),
            tools=self.luck.choice((0, 0, window // 10)),
            margin=self.luck.choice((0, window // 20)),
            results_kept=self.luck.choice((0, 1, 3)),
            result_share=self.luck.choice((0.1, 0.25, 1.0)),
            step=self.luck.choice((0.05, 0.25, 0.5)),
        )

    def words(self, least: int, most: int) -> str:
        at = self.luck.randrange(len(WORDS) // 2)
        return " ".join(WORDS[at : at + self.luck.randint(least, most)])

    def turn(self, turn: int) -> None:
        luck = self.luck
        self.parts.append(
            Part(
                role=Role.USER, text=self.words(1, 25), turn=turn, pinned=luck.random() < 0.05,
                asks=luck.random() < 0.03,
            )
        )  # fmt: skip
        if luck.random() < 0.15:
            self.parts.append(self.aside(turn))
        for _ in range(luck.choice((0, 0, 1, 1, 2, 5))):
            self.go(turn)
        if luck.random() < 0.85:
            self.parts.append(Part(role=Role.ASSISTANT, text=self.words(1, 40), turn=turn, model="ours"))
        if luck.random() < 0.12:
            self.summary()

    def aside(self, turn: int) -> Part:
        kind = self.luck.choice((Kind.MEMORY, Kind.FILE, Kind.IMAGE, Kind.STATE, Kind.TEXT))
        role = Role.SYSTEM if kind is Kind.TEXT else Role.USER
        tokens = 85 if kind is Kind.IMAGE else None
        text = self.luck.choice(("a document " * 20, self.words(3, 30)))
        relevance = self.luck.random() if kind is Kind.MEMORY else None
        return Part(role=role, kind=kind, text=text, turn=turn, tokens=tokens, relevance=relevance)

    def go(self, turn: int) -> None:
        """What the assistant says in one go, and the results, of which some are late, missing, wrong or there twice."""
        luck = self.luck
        bound = luck.choice((None, None, "ours", "theirs"))
        if luck.random() < 0.3:
            self.parts.append(
                Part(role=Role.ASSISTANT, kind=Kind.THINKING, text=self.words(2, 20), turn=turn, bound=bound)
            )
        calls: list[Part] = []
        for _ in range(luck.choice((1, 1, 1, 2, 4))):
            self.ids += luck.random() < 0.95
            native = luck.choice(("ours", "theirs")) if luck.random() < 0.05 else None
            calls.append(
                Part(
                    role=Role.ASSISTANT, kind=Kind.CALL, tool="look", call=f"c{self.ids}", text='{"at": 1}', turn=turn,
                    bound=native, pinned=luck.random() < 0.02,
                )
            )  # fmt: skip
        self.parts += calls
        luck.shuffle(calls)
        for call in calls:
            what = luck.random()
            text = luck.choice((self.words(1, 60), "the same long result " * 12, "x" * 900))
            result = Part(
                role=Role.TOOL, kind=Kind.RESULT, tool="look", call=call.call, text=text, turn=turn,
                pinned=luck.random() < 0.02,
            )  # fmt: skip
            if what < 0.8:
                self.parts.append(result)
            elif what < 0.87:
                self.late.append(result)
            elif what < 0.92:
                self.parts += [result, result]
            if luck.random() < 0.02:
                self.parts.append(Part(role=Role.TOOL, kind=Kind.RESULT, tool="look", call="nobody", text="?"))
            if luck.random() < 0.05:
                self.parts.append(Part(role=Role.USER, text="are you there?", turn=turn))
        if self.late and luck.random() < 0.5:
            self.parts.append(self.late.pop())

    def summary(self) -> None:
        """Of the oldest parts, cut anywhere: also between a call and its result."""
        upto = self.luck.randint(1, len(self.parts))
        covered = [part.hash for part in self.parts[:upto] if part.role is not Role.SYSTEM]
        if covered:
            self.parts.append(Part(role=Role.USER, kind=Kind.SUMMARY, text=self.words(3, 15), made_of=tuple(covered)))
