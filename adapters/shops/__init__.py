"""Shops: what we ask of the shop that a store belongs to."""
