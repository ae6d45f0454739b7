"""The stack: every strategy in the fixed order that gives it its number."""

from fairwind.engine.contract import StrategySpec
from fairwind.engine.strategies.windows import SPECS as WINDOWS

ROSTER: tuple[StrategySpec, ...] = (*WINDOWS,)
"""A strategy's number is its position here; new ones are appended, none is ever removed."""
