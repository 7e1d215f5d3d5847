"""Experiments and code changes, proven by training again in trees of their own."""
