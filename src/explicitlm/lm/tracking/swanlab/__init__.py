"""Tracking with SwanLab."""
