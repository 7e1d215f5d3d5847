"""Manifests, results and records of experiments."""
