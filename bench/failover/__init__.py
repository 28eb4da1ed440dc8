"""Failover: the same asks, to the same failing models, through one client after the other.

Nothing is imported here: the workers of other interpreters are started as `-m bench.failover.NAME` too.
"""
