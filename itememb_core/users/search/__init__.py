"""The search for what a user model is trained on and how, on the lake's own validation slice.

What belongs here: strategies, the plan of a search from counts alone, successive halving. What does
not: the fit of one strategy (``sequence``), the ranking that uses it (``ranking``).
"""
