"""The ranking of a user's targets: parts, their candidates, and the order that the lake chose.

What belongs here: features of candidates, orders over them, the choice among orders. What does not:
the parts themselves (``baselines``, ``sequence``), metrics (``evaluation``).
"""
