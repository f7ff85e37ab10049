"""The API as a process: `journeys api`."""

import uvicorn

from adapters import metrics
from adapters.settings import Settings
from api.app import create_app, system_clock
from api.patience import PromptHead

GRACE_S = 35
"""How long requests under way may take once the API is told to stop: a slow body (api/patience.py), and its commit."""


def run(settings: Settings) -> None:
    """Serve the API until the process is told to stop; requests under way are finished first."""
    PromptHead.open_files()
    with metrics.served(settings.metrics_host, settings.metrics_port):
        uvicorn.run(
            create_app(settings, system_clock),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,  # its lines look like ours (adapters/logs.py)
            # Addresses carry what G8 keeps out of logs (e-mail addresses, tokens).
            access_log=False,
            server_header=False,
            http=PromptHead,
            ws="none",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=GRACE_S,
        )
