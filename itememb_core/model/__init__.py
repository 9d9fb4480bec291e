"""Item vectors: training data, draws, losses, the start, the fit and what it gives."""

from itememb_core.model.data import TrainingData, training_data
from itememb_core.model.fit import fit
from itememb_core.model.item_model import ItemModel, load_model

__all__ = ["ItemModel", "TrainingData", "fit", "load_model", "training_data"]
