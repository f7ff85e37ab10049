"""Every journey there is. A test holds this list against the plans, the templates and the signals."""

from typing import Any

from workflows.back_in_stock import BackInStock
from workflows.browse_abandonment import BrowseAbandonment
from workflows.cart_recovery import CartRecovery
from workflows.double_opt_in import DoubleOptIn
from workflows.follow_up import FollowUp
from workflows.journey import Journey
from workflows.post_purchase import PostPurchase
from workflows.price_drop import PriceDrop
from workflows.retention import Retention
from workflows.rollout import Rollout
from workflows.stock_waves import StockWaves
from workflows.welcome import Welcome
from workflows.win_back import WinBack

JOURNEYS: tuple[type[Journey[Any]], ...] = (
    Welcome, CartRecovery, PostPurchase, WinBack, BackInStock, BrowseAbandonment, PriceDrop, FollowUp, DoubleOptIn,
)  # fmt: skip
WORKFLOWS: tuple[type, ...] = (*JOURNEYS, StockWaves, Rollout, Retention)
