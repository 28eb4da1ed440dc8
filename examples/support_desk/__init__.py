"""A support desk for Larch, a money app that does not exist: a flow over tickets, with two small local models.

    python -m examples.support_desk

`desk` in `flows.py` is the flow; the other modules are what it is made of. `data/` holds the tickets and what the desk
can look up.
"""
