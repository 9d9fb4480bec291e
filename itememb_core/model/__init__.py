"""Item vectors: training data, samplers, starts, losses, optimizer, trainer, export.

What belongs here: everything between the edge tables and ``item_embeddings``. What does not:
making edges, nearest neighbours, judging.
"""
