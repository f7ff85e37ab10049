"""The authoring kit's pytest fixtures: a shop whose customers live through months in milliseconds."""

from rehearsal.shop import Mail, TimeSkippingShop

__all__ = ["Mail", "TimeSkippingShop"]
