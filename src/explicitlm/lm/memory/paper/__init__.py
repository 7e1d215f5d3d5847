"""The paper's plain form (arXiv 2511.01581), kept for comparison: product keys, rows as means, Gumbel softmax."""
