"""The error tree. Errors are sorted by whose turn it is to act.

SegueError
├── UsageError                    the caller's code or input: change it and call again
│   ├── DefinitionError           a decorator was given something that it cannot run
│   ├── InputError                arguments or a payload that do not fit the declared types
│   │   └── WrongAnswer           a person's answer does not fit the form: names the field
│   ├── UnserialisableResult      a result that JSON cannot carry
│   ├── NotInAFlow                a wait outside of a flow, or inside of a step
│   ├── UnjournaledTime           asyncio's own timers in a flow: not durable
│   ├── UnjournaledWork           I/O or threads in a flow, outside of a step
│   ├── UnknownFlow               no such flow in this process
│   │   └── UnguardedScript       its module opens an engine while it is imported: guard what runs
│   ├── UnknownRun                no such run in this database
│   ├── DuplicateRun              the id is taken by a run with another input
│   ├── RunEnded                  the run has ended: signals and changes no longer reach it
│   ├── UnknownQuestion           nobody is asked a question of this id
│   ├── AlreadyDecided            somebody else, or time, was quicker: who, what and when
│   ├── StaleDecision             a decision for other arguments than those that are shown now
│   ├── ConfigError               mistakes in segue.toml: file, line, key, and what is allowed there
│   ├── PromptError               a named prompt: no such one, or a value that is missing; the file and the line
│   ├── WrongLoop                 an engine belongs to the loop, thread and process that opened it
│   └── MissingExtra              a feature needs a package that is not installed
├── Unanswered                    nobody answered in time, and there is no default; a TimeoutError too
├── Declined                      a person was asked for an answer and gave none: who, and why
├── HandedOn                      what happens once was to begin by one whose work somebody else has by now
├── StepFailed                    a step gave up; the error that it raised could not be rebuilt
├── RunFailed                     the flow raised; `__cause__` is its error
├── RunCancelled                  the run was cancelled
├── RunStuck                      the run is set aside, open and resumable
│   ├── ReplayMismatch            the code no longer makes the calls that the journal holds
│   ├── UnknownEffect             an `effect="once"` step was interrupted: applied or not?
│   ├── Undecodable               a stored value does not fit today's type
│   └── CrashLoop                 the run keeps taking its process down
├── BudgetExceeded                a call does not fit into what is left: it was not sent
├── SecretError                   a sealed value cannot be had
│   └── SecretErased  SecretUnreadable
├── EngineClosed                  the engine is closed, or never was opened
├── StoreError                    the database: the file and the next thing to do
│   ├── StoreFull  StoreLocked  StoreCorrupt  StoreReadOnly  StoreTooNew  StoreMissing
│   └── StaleOwner                another process has taken the run over
├── RecordError                   the body of an event is not what its type says; names the field
└── InternalError                 a bug in Segue: please report it

`Suspended` and `Continued` are no errors: they unwind a flow that is parked or goes on as new, inside of the runtime.
"""

from __future__ import annotations


class SegueError(Exception):
    """Base of every error that Segue raises.

    `code` is stable over releases. `run` and `key` name the place, `remedy` the next thing to do; the three are part
    of the message, one a line.
    """

    code = "segue"

    def __init__(self, message: str, *, run: str | None = None, key: str | None = None, remedy: str | None = None):
        super().__init__(message)
        self.message, self.run, self.key, self.remedy = message, run, key, remedy

    def __str__(self) -> str:
        lines = [self.message]
        if self.run is not None or self.key is not None:
            lines.append("  at: " + " ".join(p for p in (self.run and f"run {self.run}", self.key) if p))
        lines += [] if self.remedy is None else [f"  do: {self.remedy}"]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message,), self.__dict__)


class UsageError(SegueError):
    """The caller's code or input must change."""

    code = "usage"


class DefinitionError(UsageError):
    """A decorator was given something that it cannot run."""

    code = "definition"


class InputError(UsageError):
    """Arguments or a payload do not fit the declared types."""

    code = "input"


class UnserialisableResult(UsageError):
    """A value cannot be carried as JSON and read back the same."""

    code = "unserialisable"


class NotInAFlow(UsageError):
    """A durable wait was called outside of a flow, or inside of a step."""

    code = "not-in-a-flow"


class UnjournaledTime(UsageError):
    """asyncio's own timers in a flow would fire at another moment on replay."""

    code = "unjournaled-time"


class UnjournaledWork(UsageError):
    """I/O, threads or subprocesses in a flow, outside of a step."""

    code = "unjournaled-work"


class UnknownFlow(UsageError):
    """No flow of this name can be found in this process."""

    code = "unknown-flow"


class UnguardedScript(UnknownFlow):
    """A module opens an engine or starts a run while it is imported for what it defines: nothing was begun."""

    code = "unguarded-script"


class UnknownRun(UsageError):
    """No run of this id is in the database."""

    code = "unknown-run"


class DuplicateRun(UsageError):
    """The id belongs to a run of another flow or with another input, or to one that was collected."""

    code = "duplicate-run"


class RunEnded(UsageError):
    """The run has ended, or was asked to end and takes no word on a question any more; later work is a fork."""

    code = "run-ended"


class WrongAnswer(InputError):
    """What a person answered does not fit the form. `field` is the dotted path of what is wrong; empty: all of it."""

    code = "wrong-answer"
    field: str = ""


class UnknownQuestion(UsageError):
    """No question of this id waits for anybody in this database."""

    code = "unknown-question"


class AlreadyDecided(UsageError):
    """The question has an answer. `by`, `verdict` and `at` (seconds since the epoch, UTC) are whose, what and when."""

    code = "already-decided"
    by: str = ""
    verdict: str = ""
    at: float = 0.0


class StaleDecision(UsageError):
    """A decision holds for exactly what the person was shown, and that is no longer what is asked."""

    code = "stale-decision"


class ConfigError(UsageError):
    """Mistakes in a configuration file; the message has one line for each.

    `path` is the file, `line` and `setting` (dotted) the place of the first mistake, `mistakes` all of them as
    `(line, setting, what is wrong)`. Line 0: it has no line, as what is missing as a whole.
    """

    code = "config"
    path: str = ""
    line: int = 0
    setting: str = ""
    mistakes: tuple[tuple[int, str, str], ...] = ()


class PromptError(UsageError):
    """A named prompt that there is not, that holds a mistake, or that lacks a value. `path` and `line` are where; line
    0: the file as a whole.
    """

    code = "prompt"
    path: str = ""
    line: int = 0


class WrongLoop(UsageError):
    """An engine belongs to the event loop, thread and process that opened it."""

    code = "wrong-loop"


class MissingExtra(UsageError):
    """A feature needs a package that is not installed; the remedy is the command that installs it."""

    code = "missing-extra"


class Unanswered(SegueError, TimeoutError):
    """Nobody answered a question in time, and it has no default. `question` is its text."""

    code = "unanswered"
    fault_kind = "timed out"
    question: str = ""


class Declined(SegueError):
    """A person was asked for an answer and declined: `by` and `note` are theirs, `question` its text."""

    code = "declined"
    by: str = ""
    note: str = ""
    question: str = ""


class HandedOn(SegueError):
    """What happens once does not begin any more: the work that it belongs to was handed to somebody else, or failed."""

    code = "handed-on"


class StepFailed(SegueError):
    """A step gave up, and its own error could not be rebuilt from the journal. `error_type` is the error's
    `module:qualname`, `fault` its kind in the taxonomy of `core.faults`.
    """

    code = "step-failed"
    error_type: str = ""
    fault: str = ""


class RunFailed(SegueError):
    """The flow raised. `__cause__` is the error, `error_type` its `module:qualname`."""

    code = "run-failed"
    error_type: str = ""


class RunCancelled(SegueError):
    """The run was cancelled."""

    code = "run-cancelled"


class RunStuck(SegueError):
    """The run is set aside: open, resumable, nothing lost."""

    code = "stuck"


class ReplayMismatch(RunStuck):
    """The code does not make the calls that the journal holds."""

    code = "mismatch"
    asks: str | None = None
    """The call that comes in the place of an effect on record: an override of it lets the run go on."""


class UnknownEffect(RunStuck):
    """An `effect="once"` step was interrupted between intent and outcome."""

    code = "unknown-effect"


class Undecodable(RunStuck):
    """A stored value does not fit today's type."""

    code = "undecodable"


class CrashLoop(RunStuck):
    """The run has ended its process several times without progress in between."""

    code = "crashes"


class BudgetExceeded(SegueError):
    """The worst case of a call does not fit into a budget, `kind:name`: nothing was sent. In whole nano-dollars."""

    code = "budget-exceeded"
    fault_kind = "budget exceeded"
    scope: str = ""
    limit_nano: int = 0
    asked_nano: int = 0
    left_nano: int = 0
    held_nano: int = 0


class SecretError(SegueError):
    """A sealed value cannot be had. `tenant` and `key_id` name what it was sealed with."""

    code = "secret"
    fault_kind = "bad request"
    tenant: str = ""
    key_id: str = ""


class SecretErased(SecretError):
    """The key was destroyed: that is erasure, and cannot be undone."""

    code = "secret-erased"


class SecretUnreadable(SecretError):
    """Sealed for another tenant, with a key that is not here, or damaged."""

    code = "secret-unreadable"


class EngineClosed(SegueError):
    """The engine is closed, or was never opened with `async with`."""

    code = "engine-closed"


class StoreError(SegueError):
    """The database. `path` names the file."""

    code = "store"
    path: str = ""


class StoreFull(StoreError):
    """The disk is full."""

    code = "store-full"


class StoreLocked(StoreError):
    """Another program holds the file locked."""

    code = "store-locked"


class StoreCorrupt(StoreError):
    """The file is damaged or no Segue database."""

    code = "store-corrupt"


class StoreReadOnly(StoreError):
    """The file or its folder cannot be written."""

    code = "store-read-only"


class StoreTooNew(StoreError):
    """A newer Segue wrote this database."""

    code = "store-too-new"


class StoreMissing(StoreError):
    """There is no such file: it was never made, or was moved or deleted."""

    code = "store-missing"


class StaleOwner(StoreError):
    """Another process has taken this run over: this one may no longer write to it."""

    code = "stale-owner"


class RecordError(SegueError):
    """The body of an event is not what its type says. `type` names the type, `field` the path of the field."""

    code = "record"
    type: str = ""
    field: str = ""


class InternalError(SegueError):
    """A bug in Segue. Please report it with the journal of the run."""

    code = "internal"


class Continued(BaseException):
    """Ends this part of a run, which goes on as new with the input `args`, JSON by parameter name."""

    def __init__(self, args: bytes):
        super().__init__()
        self.input = args


class Suspended(BaseException):
    """Unwinds a flow that is being parked. Whatever the flow does with it is discarded."""
