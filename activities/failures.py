"""How our errors become Temporal failures: retryability is a fact of the class, never read from a message."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.errors import EventsPending, JourneysError, PlacesTaken


@contextmanager
def as_application_errors() -> Iterator[None]:
    """Translate errors of ours; what is not ours stays as it is and is retried."""
    try:
        yield
    except JourneysError as error:
        # A routine wait for the router, or in the queue, is no reason for an alarm.
        category = (
            ApplicationErrorCategory.BENIGN
            if isinstance(error, EventsPending | PlacesTaken)
            else ApplicationErrorCategory.UNSPECIFIED
        )
        raise ApplicationError(
            str(error), type=type(error).__name__, non_retryable=not error.retryable, category=category
        ) from error
