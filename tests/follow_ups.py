"""The follow-ups that the documentation offers to copy, as files; the tests run these very files."""

import json
from pathlib import Path
from typing import Any

from domain.plans import FollowUpPlan

FOLLOW_UPS = Path(__file__).parents[1] / "docs" / "follow-ups"
EXAMPLES: dict[str, dict[str, Any]] = {
    f"follow-up/{file.stem}": json.loads(file.read_text("utf-8")) for file in sorted(FOLLOW_UPS.glob("*.json"))
}
PLANS = {journey: FollowUpPlan.model_validate(settings) for journey, settings in EXAMPLES.items()}
