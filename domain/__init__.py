"""What the business means: facts, rules, ports. Standard library and pydantic only; no I/O, no clock."""
