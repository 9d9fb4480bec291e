"""The evidence for and against a candidate, as one sentence."""

from collections.abc import Mapping
from typing import Any

#: Gaps of price that are called none and near (logarithms, or units of transformed prices).
SAME_PRICE, NEAR_PRICE = 0.05, 0.25

#: Weekly correlations above or below which the weeks are mentioned.
SAME_WEEKS, OTHER_WEEKS = 0.3, -0.25


def reasons(pair: Mapping[str, str | float | None]) -> str:
    """Evidence for a pair and against it, strongest kind first.

    Args:
        pair: A row of ``schemas.LINK_CANDIDATES``; null evidence is left out.
    """
    parts = (_users(pair), _price(pair), _brand(pair), _weeks(pair), _vectors(pair))
    return "; ".join(words for words in parts if words)


def _users(pair: Mapping[str, Any]) -> str:
    ratio, lead = pair["users_llr"], pair["users_llr_lead"]
    if ratio is None:
        return ""
    if ratio <= 0.0:
        return f"its users do not buy both ({ratio:+.1f})"
    rival = "no receipt item fits it better" if lead >= 0.0 else "another receipt item fits better"
    return f"the same users buy both (log-likelihood ratio {ratio:+.1f}), {rival} ({lead:+.1f})"


def _price(pair: Mapping[str, Any]) -> str:
    gap = pair["price_gap"]
    if gap is None:
        return ""
    if abs(gap) <= SAME_PRICE:
        return "same price"
    return f"price {'near' if abs(gap) <= NEAR_PRICE else 'apart'} ({gap:+.2f})"


def _brand(pair: Mapping[str, Any]) -> str:
    if pair["brand"] is None:
        return ""
    return "same brand" if pair["brand"] > 0.0 else "another brand"


def _weeks(pair: Mapping[str, Any]) -> str:
    correlation = pair["weekly_correlation"]
    if correlation is None or OTHER_WEEKS < correlation < SAME_WEEKS:
        return ""
    return f"bought in {'the same' if correlation > 0.0 else 'other'} weeks ({correlation:+.2f})"


def _vectors(pair: Mapping[str, Any]) -> str:
    cosine = pair["similarity"]
    return "" if cosine is None else f"cosine {cosine:.2f}"
