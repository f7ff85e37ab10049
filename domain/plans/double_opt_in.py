"""The plan of double opt-in."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from domain.plans.plan import Plan, Step, Wait


class ConfirmationStep(Step):
    """A mail that asks for a confirmation: no advertisement, so it does not wait for the consent that it is about."""

    transactional: Literal[True] = True


class DoubleOptInPlan(Plan):
    """One mail with a link; what is not confirmed in time never counts. Off until a store switches it on.

    Attributes:
        enabled: True: consent by e-mail that is told from now on counts only once it is confirmed.
        patience: How long the link in the mail is good.
        again: No address, and no customer, is asked twice within this time.
    """

    enabled: bool = False
    patience: Wait = Field(default=timedelta(days=7), gt=timedelta(0))
    again: Wait = timedelta(days=1)
    steps: tuple[ConfirmationStep, ...] = Field(
        min_length=1, max_length=2, default=(ConfirmationStep(name="confirm", template="double-opt-in"),)
    )

    @property
    def after_last(self) -> timedelta:
        return self.patience
