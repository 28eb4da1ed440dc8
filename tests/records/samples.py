"""One full sample of every record: each field differs from its default. Golden files hold what they look like in a journal."""

from __future__ import annotations

from segue.core.events import EventType
from segue.core.faults import Fault, FaultKind
from segue.core.records import (
    AnswerRef,
    ApprovalAsked,
    ApprovalDecided,
    AskKind,
    AttemptEnd,
    AttemptFailed,
    AttemptRecorded,
    AttemptRef,
    AttemptStarted,
    AttemptWhy,
    BudgetScope,
    Candidate,
    Check,
    ChildDetached,
    ChildEnded,
    ChildStarted,
    Decision,
    Estimate,
    Evidence,
    Fate,
    Feedback,
    FeedbackSource,
    Manifest,
    ManifestPart,
    NextMove,
    OperatorAct,
    Record,
    Reservation,
    RunAccepted,
    RunCancelled,
    RunCancelling,
    RunCompleted,
    RunFailed,
    RunForked,
    RunParked,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStuck,
    Sampling,
    ScopeKind,
    SettledBy,
    Settlement,
    SignalReceived,
    SignalRejected,
    Split,
    Stage,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StreamEnd,
    StreamFate,
    Target,
    TargetKind,
    TimerFired,
    TimerSet,
    Usage,
    Verdict,
    binding,
)

FAULT = Fault(FaultKind.RATE_LIMITED, "acme.sdk:TooMany", "slow down", ["slow down"], 12.5, "tokens per minute", "Traceback …")
MODEL = Target(kind=TargetKind.MODEL, name="gpt-x", deployment="eu-2", provider="acme", version="2026-10-01")
SMALL = Target(kind=TargetKind.MODEL, name="tiny")
PERSON = Target(kind=TargetKind.PERSON, name="claims-lead")
FIRST = AttemptRef(epoch=1, n=1)
OTHER = AttemptRef(epoch=2, n=4, key="ask[9f]#1", run="r-1")
USAGE = Usage(
    tokens_in=1200, tokens_out=340, tokens_cache_read=1000, tokens_cache_write=100, tokens_thinking=200,
    tokens_audio_in=10, tokens_audio_out=20, tokens_image_in=30, other={"web_searches": 2}, requests=2,
    cost_nano=1_234_567, estimated=True, price_source="genai-prices", price_version="2026.11",
)  # fmt: skip
SCOPES = (
    BudgetScope(kind=ScopeKind.RUN, name="claim-7", limit_nano=500_000_000),
    BudgetScope(kind=ScopeKind.TENANT, name="acme", limit_nano=9_000_000_000, period="2026-11"),
)
SHOWN = {"amount": 120.5, "to": "DE02", "tags": ["a", None, True]}

RUNS: tuple[Record, ...] = (
    RunAccepted(
        flow="claims:review", flow_version=2, seed="5eed", parent="r-0", tenant="acme", thread="user-42", queue="slow",
        priority=3, labels={"team": "claims"}, by="schedule nightly",
    ),
    RunForked(
        flow="claims:review", flow_version=2, seed="5eed", parent="r-0", tenant="acme", thread="user-42", queue="slow",
        priority=3, labels={"team": "claims"}, by="ada", fork_of="r-1", at="fetch[1f]#1", edited=True, why="a typo",
    ),
    RunStarted(owner="4711-abcd", revision="c0de", flow_version=3),
    RunParked(waits_on=({"signal": "go", "key": "wait[go]#1"}, {"sleep": 12.5, "key": "sleep#1"})),
    RunPaused(by="ada", why="incident 12"),
    RunResumed(by="ada", why="it is over"),
    RunCancelling(by="ada", why="a duplicate"),
    RunStuck(reason="mismatch", message="the journal holds a#1", key="a#1", remedy="fork the run"),
    RunCompleted(orphaned=("old[1f]#1",)),
    RunFailed(fault=FAULT, orphaned=("old[1f]#1",)),
    RunCancelled(fault=FAULT, orphaned=("old[1f]#1",), by="ada", why="a duplicate"),
    StepCompleted(),
    StepFailed(fault=FAULT),
    StepCancelled(why="the branch lost"),
    TimerSet(due_at=1_700_000_000.25, why="sleep"),
    TimerFired(),
    SignalReceived(by="ada"),
    SignalRejected(signal="go", seq=7, why="not an integer"),
    ChildStarted(run="r-2", flow="claims:pay"),
    ChildDetached(run="r-3", flow="claims:mail"),
    ChildEnded(run="r-2", fault=FAULT, orphaned=("old[1f]#1",)),
)  # fmt: skip

ATTEMPTS: tuple[Record, ...] = (
    AttemptStarted(
        effect="once", late=True, target=MODEL, why=AttemptWhy.FALLBACK, decision="d2", manifest="m2", reservation="b2",
        follows=FIRST, idempotency_key="r-1/pay#1",
    ),
    AttemptFailed(fault=FAULT, retry_at=1_700_000_012.5, then=NextMove.USE, to="tiny"),
    AttemptRecorded(
        epoch=1, n=2, target=MODEL, why=AttemptWhy.REPAIR, end=AttemptEnd.SUPERSEDED, follows=FIRST, superseded_by=OTHER,
        fault=FAULT, status=429, then=NextMove.AMEND, to="tiny", retry_at=1_700_000_012.5, amended="error shown",
        usage=USAGE, queued_s=0.5, ttft_s=0.25, latency_s=3.5, finish_reason="length", answered_by="gpt-x-2026-10",
        request_id="req_1", request="9a", answer="9b", streamed=True, decision="d2", manifest="m2", reservation="b2",
        checks=(Check(name="cites", passed=False, why="no source", score=0.25, stage="before"),),
        details={"headers": {"retry-after": "12"}},
    ),
    StreamEnd(
        epoch=1, n=2, bytes_total=812, end=StreamFate.CUT, finish_reason="stop", chunks=40, ttft_s=0.25, longest_gap_s=1.5,
        bytes_released=700, held_ms=250, retracted=True, rescue="continue", rescued_by=OTHER, continues=FIRST,
        continues_at=112, hash="9c",
    ),
)  # fmt: skip

DECISION = Decision(
    id="d2", policy="careful", policy_version="4", route="strong", objective={"maximise": "quality", "cost_usd_max": 0.01},
    features={"task": "code", "tokens": 812}, embedding="AAA8", embedding_model="minilm-6", sampling=Sampling.ESTIMATED,
    samples=1000, exploration=0.02, explored=True, luck=0.25, seed="5eed", choice=0, order=(1,), stage=1, shadows=(1,),
    hedge=1, hedge_after_s=2.5, splits=(Split(name="new-prompt", arm="b", share=0.1, by="9d"),), pinned_by="affinity",
    after="d1", because="overloaded", attempt=FIRST, depth=1, catalogue="9e", took_s=0.001,
    candidates=(
        Candidate(
            target=MODEL, quality=Estimate(mean=0.9, sd=0.05, n=312.0, source="knn 7"), cost_usd=Estimate(mean=0.004, sd=0.001),
            latency_s=Estimate(mean=2.5), score=0.875, propensity=0.75, facts={"prefix_tokens": 4096, "health": "closed"},
        ),
        Candidate(target=SMALL, propensity=0.25),
        Candidate(target=PERSON, eligible=False, excluded_at=Stage.BUDGET, reason="needs 0.02 USD, 0.01 are left"),
    ),
)  # fmt: skip
MANIFEST = Manifest(
    id="m2", target=MODEL, window=8192, reserved_out=1024, tokens=900, tokenizer="o200k", exact=False, margin=64,
    tokens_tools=120, tokens_prefix=512, prefix="9f", decision="d2", thread="user-42", turn=7, prompts={"assess": "3"},
    after="m1", assembler="1",
    parts=(
        ManifestPart(hash="a0", role="system", tokens=200, fate=Fate.KEPT, pinned=True),
        ManifestPart(
            hash="a1", role="tool", tokens=4000, fate=Fate.CUT, why="window", kind="tool result", key="fetch[1f]#1", run="r-0",
            model="gpt-x", source="doc 12", tokens_shown=300, into="a2", made_of=("a3",), call="call_1", recall="recall:a1",
            turn=3, relevance=0.5,
        ),
        ManifestPart(hash="a4", role="user", tokens=90, fate=Fate.DROPPED, why="duplicate of a0"),
    ),
)  # fmt: skip
MONEY: tuple[Record, ...] = (
    Reservation(
        id="b2", amount_nano=20_000_000, scopes=SCOPES, currency="EUR", target=MODEL, attempt=FIRST, tokens_in_max=1300,
        tokens_out_max=512, lowered_from=4096, price_source="catalogue", price_version="7",
    ),
    Settlement(
        settles="b2", amount_nano=1_234_567, why=SettledBy.LOST, estimated=True, currency="EUR", usage=USAGE,
    ),
)  # fmt: skip
PEOPLE: tuple[Record, ...] = (
    ApprovalAsked(
        id="p1", question="Pay out?", bound=binding("pay", SHOWN, ("a5",)), kind=AskKind.ESCALATION, action="pay", shown=SHOWN,
        evidence=(Evidence(hash="a5", title="the claim", kind="image", key="fetch[1f]#1"),), by=("claims-lead", "cfo"),
        quorum=2, due_at=1_700_086_400.0, default={"decision": "denied"}, remind_at=(1_700_043_200.0,),
        form={"type": "object"}, choices=("yes", "no"), story=(FIRST, OTHER), again_after="p0",
    ),
    ApprovalDecided(
        asked="p1", verdict=Verdict.REASSIGNED, by="ada", bound=binding("pay", SHOWN, ("a5",)), answer={"amount": 100},
        why="on holiday", at=1_700_000_100.0, via="console", to=("bob",),
    ),
    Feedback(
        score=0.75, better_than=AnswerRef(run="r-9", key="ask[9f]#1", decision="d9", attempt=OTHER), tied=True, strength=0.5,
        about=AnswerRef(decision="d2"), source=FeedbackSource.JUDGE, aspects={"tone": 1.0}, weight=2.0, by="ada",
        note="shorter", corrected={"total": 12},
    ),
    OperatorAct(
        act="result", by="ada", why="known", target="flow claims:review", query="state = 'stuck'", bulk="bulk-1", via="cli",
        details={"was": "failed"},
    ),
)  # fmt: skip

SAMPLES: dict[EventType, Record] = {r.type: r for r in (*RUNS, *ATTEMPTS, DECISION, MANIFEST, *MONEY, *PEOPLE)}
