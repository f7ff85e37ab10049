"""Note an operator's action on a run, and what follows from it in Postgres."""

from temporalio import activity

from activities.failures import as_application_errors
from domain.operations import Note
from domain.ports import Clock, Operations


class NoteOperation:
    """Keep the audit log."""

    def __init__(self, operations: Operations, clock: Clock) -> None:
        self._operations = operations
        self._clock = clock

    @activity.defn(name="note-operation")
    async def note(self, note: Note) -> None:
        """Write an operation down; a repeat writes nothing."""
        with as_application_errors():
            key = f"{activity.info().workflow_run_id}:{activity.info().activity_id}"
            await self._operations.note(note, key, self._clock())
