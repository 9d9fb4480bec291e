"""Names of what predicts where an item without interactions belongs."""

from typing import Final

#: Methods, as ``*_evaluation`` names them.
WARM, FEATURES, CATEGORIES, CONTENT = "warm", "features", "category_means", "content_means"
#: Means of two predictions, which err in different ways.
MIXED: Final = {
    "features+content_means": (FEATURES, CONTENT),
    "category_means+content_means": (CATEGORIES, CONTENT),
}
#: Predictions, the plainest first.
PLAIN: Final = (CATEGORIES, CONTENT, FEATURES, *MIXED)
