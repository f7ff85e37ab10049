"""What the browser SDKs fetch before they send their first event: which destinations there are. None but us."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from api.errors import documented

router = APIRouter(tags=["tracking"])


@router.get(
    "/sourceConfig",
    summary="Settings for RudderStack's browser SDK",
    operation_id="sourceConfig",
    responses=documented(),
)
@router.get("/sourceConfig/", include_in_schema=False)
async def source_config(write_key: Annotated[str, Query(alias="writeKey")] = "") -> dict[str, Any]:
    """Answer what `rudderanalytics.load(writeKey, dataPlaneUrl, {configUrl})` needs."""
    quiet = {"errors": {"enabled": False}, "metrics": {"enabled": False}}
    return {
        "source": {
            "id": "journeys",
            "name": "Journeys",
            "writeKey": write_key,
            "workspaceId": "journeys",
            "enabled": True,
            "config": {"statsCollection": quiet},
            "destinations": [],
            "dataplanes": {},
        }
    }


@router.get(
    "/v1/projects/{key}/settings",
    summary="Settings for Segment's browser SDK",
    operation_id="projectSettings",
    responses=documented(404),
)
async def project_settings(key: str, request: Request) -> dict[str, Any]:
    """Answer what `AnalyticsBrowser.load({writeKey, cdnURL})` needs: send everything here, in `/v1/t` form."""
    here = request.base_url
    segment = {"apiKey": key, "apiHost": f"{here.netloc}/v1", "protocol": here.scheme, "unbundledIntegrations": []}
    return {
        "integrations": {"Segment.io": segment},
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "metrics": {"sampleRate": 0},
        "edgeFunction": {},
    }
