"""Training: the loop, its resume states, evaluation and checkpoint. Knows nothing of DVC, git or records."""
