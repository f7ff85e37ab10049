"""Chaos: customers live their lives while parts of the real stack are killed, and everything is accounted for.

`make chaos` runs it; docs/chaos.md says what it does, what it expects, and what it cannot see. Nothing here is shipped.
"""
