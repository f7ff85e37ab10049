"""The API in a process, as `journeys api` serves it but less patient: `python -m tests.api.impatient`."""

from functools import partial

from adapters.settings import Settings
from api import app, main, patience

HEAD_TIME, BODY_TIME = 4.0, 1.0

if __name__ == "__main__":
    patience.HEAD_TIME = HEAD_TIME
    app.Patience = partial(patience.Patience, body_time=BODY_TIME)  # type: ignore[assignment,misc]
    main.run(Settings())
