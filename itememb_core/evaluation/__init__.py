"""Judging: metrics, baselines and the ``*_evaluation`` tables, on what training did not see.

What belongs here: figures beside their baselines. What does not: fitting anything that ships.
"""
