"""A sequence model of users: items they interact with next, from the order of what they did.

What belongs here: the encoder of a history, what it is trained to predict, with which loss against
which negatives, and the fit. What does not: personal counts and their blend with the model, the
search over settings, recommendations.
"""
