"""The probability of a candidate: comparisons, trees, calibration, population, acceptance."""
