"""Mail providers: what their webhooks tell, once they have proved who they are.

Each provider has a function `read(request, secrets, …)` that verifies the raw bytes and translates them; what it
returns does not depend on the provider any more (`domain.bounces.Feedback`).
"""
