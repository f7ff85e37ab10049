"""Every journey there is. A test holds this list against the plans, the templates and the signals."""

from typing import Any

from workflows.back_in_stock import BackInStock
from workflows.cart_recovery import CartRecovery
from workflows.journey import Journey
from workflows.post_purchase import PostPurchase
from workflows.stock_waves import StockWaves
from workflows.welcome import Welcome
from workflows.win_back import WinBack

JOURNEYS: tuple[type[Journey[Any]], ...] = (Welcome, CartRecovery, PostPurchase, WinBack, BackInStock)
WORKFLOWS: tuple[type, ...] = (*JOURNEYS, StockWaves)
