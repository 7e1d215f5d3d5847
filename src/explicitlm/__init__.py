"""ExplicitLM: a language model with an explicit, readable memory bank, and its reproducible experiments."""
