"""What the API is measured against: a FastAPI route that parses the same body and answers, and nothing else.

Run it by `python -m bench.bare_api PORT`.
"""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from adapters.garbage import UNDER_WAY, spare_what_stays

app = FastAPI()


@app.post("/v1/track", response_model=None)
async def track(request: Request) -> JSONResponse:
    """Parse and answer."""
    body: dict[str, Any] = await request.json()
    return JSONResponse({"success": isinstance(body, dict)})


if __name__ == "__main__":
    # As `journeys api` serves ours.
    spare_what_stays(UNDER_WAY)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False, server_header=False)
