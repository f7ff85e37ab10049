"""The API as a process: `journeys api`."""

import uvicorn

from adapters.settings import Settings
from api.app import create_app, system_clock
from api.patience import PromptHead


def run(settings: Settings) -> None:
    """Serve the API until the process is told to stop; requests under way are finished first."""
    uvicorn.run(
        create_app(settings, system_clock),
        host=settings.api_host,
        port=settings.api_port,
        log_level=settings.log_level.lower(),
        # Addresses carry what G8 keeps out of logs (e-mail addresses, tokens).
        access_log=False,
        server_header=False,
        http=PromptHead,
        ws="none",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=15,
    )
