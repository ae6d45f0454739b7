"""Fairwind: one deterministic engine for live, paper and replay of prediction-market windows."""

__version__ = "0.1.0"
