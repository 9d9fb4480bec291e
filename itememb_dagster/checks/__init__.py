"""Asset checks, in the order of the graph."""
