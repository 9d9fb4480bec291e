"""Users: histories, two towers, user vectors and recommendations.

What belongs here: everything from clean events to a ranked list a user. What does not: item
vectors (``model``), figures (``evaluation``).
"""
