"""The search attributes: one list that the dev stack, the fixtures and the worker's start-up check read.

An unregistered one blocks a workflow task for ever with only a warning, so nobody may write a second list.
"""

KEYWORDS: tuple[str, ...] = ("StoreId", "CustomerId", "JourneyOutcome")
