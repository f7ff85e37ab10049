"""The client side of Temporal: one plugin for client, worker and replayer, search attributes, commands."""
