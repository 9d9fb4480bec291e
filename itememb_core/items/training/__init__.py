"""Training of item vectors: data, sampling, losses, initialisation, the loop."""

from itememb_core.items.training.data import TrainingData, training_data
from itememb_core.items.training.fit import fit

__all__ = ["TrainingData", "fit", "training_data"]
