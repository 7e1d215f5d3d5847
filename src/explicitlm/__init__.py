"""ExplicitLM: a language model with an explicit memory bank, and reproducible experiments with it."""
