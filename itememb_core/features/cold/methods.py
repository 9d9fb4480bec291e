"""Names of what predicts where an item without interactions belongs."""

from typing import Final

#: Methods, as ``*_evaluation`` names them.
WARM, FEATURES, CATEGORIES, CONTENT = "warm", "features", "category_means", "content_means"
#: The network's prediction with the item's own popularity, and the other way round: how much of
#: what cold items lack is how often they sell, which nothing tells before they do.
KNOWN_POPULARITY: Final = "features, own popularity"
PREDICTED_POPULARITY: Final = "warm, predicted popularity"
#: Means of two predictions, which err in different ways.
MIXED: Final = {
    "features+content_means": (FEATURES, CONTENT),
    "category_means+content_means": (CATEGORIES, CONTENT),
}
#: Predictions, the plainest first.
PLAIN: Final = (CATEGORIES, CONTENT, FEATURES, *MIXED)
