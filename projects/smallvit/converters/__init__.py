"""Official checkpoints to ours and back, one key map for each system."""
