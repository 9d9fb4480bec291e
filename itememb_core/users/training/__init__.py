"""Training of the user model: batches, losses, the loop, its validation."""
