"""Settings of the demo world. What does not belong here: how they are used."""

from pydantic import Field

from itememb_core.settings import StageSettings


class DemoSettings(StageSettings):
    """How the baskets of Complete Journey are split into channels (what is arranged)."""

    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random draw.")
    direct: float = Field(
        0.06, ge=0.0, le=1.0, description="Share of receipt items that keep their catalog id."
    )
    receipt_share: float = Field(
        0.5, ge=0.0, le=1.0, description="Mean share of a household's baskets sent to receipts."
    )
    receipts_only: float = Field(
        0.3, ge=0.0, le=1.0, description="Share of products that no catalog holds."
    )
    markup: float = Field(
        0.08, ge=0.0, le=2.0, description="Log scale of a product's receipt price over the real."
    )
    noise: float = Field(
        0.03, ge=0.0, le=2.0, description="Log scale of a receipt line's price over its product's."
    )
    brand_missing: float = Field(
        0.7, ge=0.0, le=1.0, description="Share of receipt items whose brand is blank on all lines."
    )
    no_prices: bool = Field(False, description="Leave every price out.")
    receipt_text: bool = Field(
        False,
        description="Receipt lines carry text as tills print it, catalog titles an invented brand.",
    )
    households: float = Field(1.0, gt=0.0, le=1.0, description="Share of the households kept.")
