"""Category trees: an embedding in the Poincare ball, and where an item lies in it."""
