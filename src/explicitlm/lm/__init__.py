"""Everything that can change the weights: configuration, data, model, training, tracking."""
