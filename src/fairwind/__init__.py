"""Fairwind: one deterministic engine for live, paper and replay of short prediction-market windows."""

__version__ = "0.1.0"
