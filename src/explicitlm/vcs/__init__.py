"""The only place that calls git, DVC and the object store."""
