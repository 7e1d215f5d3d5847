"""From the user's files to batches of token ids. Knows numpy and tokenizers, nothing of models or DVC."""
