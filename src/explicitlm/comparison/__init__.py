"""What differs between experiments, whether it is real, and what they learnt: reads records, changes nothing."""
