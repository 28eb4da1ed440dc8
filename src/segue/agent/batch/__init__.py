"""`ask(..., batch=True)`: the answer comes by the provider's batch API at its lower price, and the run waits durably.

`attempt` queues a question or reads its answer, `recovery` says what follows, `ticket` is what is known in between,
`office` is what an engine has of it all: the outbox and the batcher of `models.batches`.
"""
