"""Which code a run goes on with after a deploy: decided by the worker that runs it, never by `@workflow.defn`.

On `defn` it would count for unversioned workers as well, and Temporal lets their runs stand still for ever. A worker
has one default behaviour (pinned); journeys that outlive deploys differ from it, and the runner of their code says so.
"""

import dataclasses
from typing import TypedDict

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkerDeploymentConfig,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


class Versioning(TypedDict, total=False):
    """The arguments of a `Worker` that make it a versioned one."""

    deployment_config: WorkerDeploymentConfig
    workflow_runner: WorkflowRunner


def versioning(deployment: str, build_id: str | None) -> Versioning:
    """Return what a worker of a build is given; nothing for one without a build id, which stays unversioned."""
    if not build_id:
        return {}
    version = WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id)
    config = WorkerDeploymentConfig(
        version=version, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED
    )
    return {"deployment_config": config, "workflow_runner": SandboxedWorkflowRunner(runner_class=ByJourney)}


class ByJourney(UnsandboxedWorkflowRunner):
    """Runs each workflow inside the sandbox, and lets those that outlive deploys move to the newest code."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the instance that handles a run's tasks."""
        if getattr(det.defn.cls, "outlives_deploys", False):
            moves = dataclasses.replace(det.defn, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
            det = dataclasses.replace(det, defn=moves)
        return super().create_instance(det)
