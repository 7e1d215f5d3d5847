"""Where the metrics of a training go."""
