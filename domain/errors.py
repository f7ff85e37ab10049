"""The one exception tree.

JourneysError
├── InvalidInput            the caller's fault; names a field and a rule; never retried
│   ├── InvalidEvent        an event that cannot be stored (400)
│   ├── InvalidPlan         a plan that breaks a rule (400)
│   └── InvalidToken        a link token that was not signed by us (400)
├── NotAuthorised           unknown, revoked or ended key (401)
├── ScopeMissing            a valid key that may not do this (403)
├── OriginRefused           a public key on a page that its store does not list (403)
├── TooLarge                a body over the limit (413)
├── UnsupportedEncoding     a body packed in a way that we cannot unpack (415)
├── OperationRefused        what an operator asks cannot be done now (409)
├── NotFound                no such store, customer, run (404)
├── Overloaded              we cannot take more right now; ask again (429)
│   └── LimitReached        this key takes more than it may; says when to ask again
├── Unavailable             a part that we need is down; ask again (503)
│   ├── EventsPending       an accepted event of this customer is not applied yet
│   ├── PlacesTaken         too many messages are going out at once here; this one is to be queued
│   └── ChannelUnavailable  the provider answered "later" or could not be reached
├── RecipientRejected       the provider refused this recipient for good
├── DeliveryUnknown         the provider may or may not have accepted the message
├── TemplateBroken          a template that cannot be rendered
└── ConfigurationError      settings that cannot work; says which and how to fix it

Temporal matches non-retryable error types by class *name*, never by ancestor, so `retryable` is a fact of
each class and one mapper (activities/failures.py) turns it into an ApplicationError.
"""

# ruff: noqa: N818 - an error is named after what happened; the tree says that it is one

from typing import ClassVar

from domain.bounces import Kind


class JourneysError(Exception):
    """Something went wrong in Journeys."""

    status_code: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or type(self).__name__).splitlines()[0])


class InvalidInput(JourneysError):
    """The input breaks a rule."""

    status_code = 400

    def __init__(self, field: str, message: str, index: int | None = None) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.index = index


class InvalidEvent(InvalidInput):
    """The event cannot be stored."""


class InvalidPlan(InvalidInput):
    """The plan breaks a rule."""


class InvalidToken(JourneysError):
    """The link is not valid: it was not signed by this server."""

    status_code = 400


class NotAuthorised(JourneysError):
    """The key is missing, unknown, revoked or at its end."""

    status_code = 401


class ScopeMissing(JourneysError):
    """The key is valid, but does not open this."""

    status_code = 403


class OriginRefused(JourneysError):
    """This page may not use the key: its origin is not on the store's list."""

    status_code = 403


class TooLarge(JourneysError):
    """The body is larger than the limit."""

    status_code = 413


class UnsupportedEncoding(JourneysError):
    """The body is packed in a way that is not understood; send it plain or as gzip."""

    status_code = 415


class NotFound(JourneysError):
    """There is no such thing in this store."""

    status_code = 404


class OperationRefused(JourneysError):
    """The run cannot do that now."""

    status_code = 409


class Overloaded(JourneysError):
    """Too many requests are waiting; send this one again later."""

    status_code = 429
    retryable = True


class LimitReached(Overloaded):
    """The key has taken what it may for now.

    Attributes:
        wait: Seconds until there is something again.
    """

    def __init__(self, wait: float) -> None:
        super().__init__("this key takes more than it may; send this one again later")
        self.wait = wait


class Unavailable(JourneysError):
    """A part that is needed is down; send this again later."""

    status_code = 503
    retryable = True


class EventsPending(Unavailable):
    """An accepted event of this customer has not been applied yet, so nothing may be sent."""


class PlacesTaken(Unavailable):
    """Too many messages are going out at once here; this one is to take its turn in the queue."""


class ChannelUnavailable(Unavailable):
    """The message provider could not take the message now."""


class RecipientRejected(JourneysError):
    """The provider refused this recipient for good.

    Attributes:
        kind: What that says about the address; only a `gone` one is never written to again.
    """

    def __init__(self, code: int, message: str, kind: Kind = Kind.GONE) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.kind = kind


class DeliveryUnknown(JourneysError):
    """The connection broke after the message was handed over: it may or may not have been accepted."""


class TemplateBroken(JourneysError):
    """The template cannot be rendered."""


class ConfigurationError(JourneysError):
    """The settings cannot work."""
