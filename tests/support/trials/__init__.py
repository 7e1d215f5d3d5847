"""Trials of what lies around an experiment: a fault each, a user who follows the hints, a verdict from the disk."""
