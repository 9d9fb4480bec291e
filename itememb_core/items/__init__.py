"""Items: the vocabulary, training, vectors, the index, similar items, drift between versions."""
