import os, time
from test_replan import *
async def test_dbg(shop):
    try:
        await shop.plan("welcome", steps=OLD)
        shop.withhold = True
        await newcomers(shop, 1)
        (run,) = await shop.runs("welcome")
        print("RUN", run.trigger_event, flush=True)
        from domain.operations import Replan
        from adapters.temporal.rollouts import TemporalRuns
        try:
            print(await asyncio.wait_for(TemporalRuns(shop.env.client, shop.temporal).replan(run.workflow_id, Replan(version=2, plan={}, mode="move")), 12), flush=True)
        except BaseException as e: print("EXC", type(e), getattr(e,"status",None), e, flush=True)
    finally:
        os._exit(1)
