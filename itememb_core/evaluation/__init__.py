"""Evaluation: metrics, baselines and the ``*_evaluation`` tables, on data held out from training.

What belongs here: figures beside their baselines. What does not: fitting anything that ships.
"""
