"""Runs under way, wherever they train: what they are doing, and word when one ends or falls silent."""
