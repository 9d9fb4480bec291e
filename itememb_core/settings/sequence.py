"""Settings of the sequence model of users."""

from typing import Literal

from pydantic import Field

from itememb_core.settings.base import StageSettings


class SequenceSettings(StageSettings):
    """An encoder over a user's events, the items it predicts, and how it is trained."""

    encoder: Literal["transformer", "gru"] = Field(
        "transformer", description="What reads the events."
    )
    dim: int = Field(64, ge=2, le=1024, description="Length of user and item vectors; units.")
    blocks: int = Field(2, ge=1, le=24, description="Blocks of the transformer.")
    heads: int = Field(2, ge=1, le=64, description="Heads of its attention; they divide dim.")
    gated: bool = Field(
        False, description="Whether what a block adds passes a gate made of its input (LiGR)."
    )
    time_bias: bool = Field(
        True, description="Whether attention is biased by the time between events, where any is."
    )
    window: int = Field(
        100, ge=2, le=10_000, description="Events that the encoder sees; longer ones are cut up."
    )
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="Share of units dropped.")
    id_norm: float = Field(
        1.0, ge=0.0, description="Longest trained row of an item, whose own vector has length 1."
    )
    id_dropout: float = Field(
        0.1, ge=0.0, lt=1.0, description="Share of items whose trained row a step leaves out."
    )
    target: Literal["next_event", "next_basket", "horizon"] = Field(
        "next_event",
        description="What an event predicts: the next one, all of the next time, or all within "
        "horizon_days.",
    )
    horizon_days: float = Field(28.0, gt=0.0, description="Days ahead, for target horizon.")
    targets: int = Field(
        8, ge=1, le=1000, description="Most targets an event predicts at a time; drawn of more."
    )
    loss: Literal["softmax", "gbce", "pairwise"] = Field(
        "softmax", description="What a target is compared with its negatives by."
    )
    calibration: float = Field(
        0.75, ge=0.0, le=1.0, description="t of gBCE: 0 is binary cross-entropy, 1 calibrated."
    )
    negatives: int = Field(1000, ge=1, le=65_536, description="Negatives that a batch shares.")
    popularity_share: float = Field(
        0.0, ge=0.0, le=1.0, description="Share of them drawn by popularity, users ** 0.75."
    )
    in_batch_share: float = Field(
        0.0, ge=0.0, le=1.0, description="Share of them drawn from the batch's own targets."
    )
    all_up_to: int = Field(
        2000, ge=0, description="Most targets of which all are negatives, so that none is drawn."
    )
    exclude_own: bool = Field(
        True, description="Whether items of the user's own are no negatives of his events."
    )
    batch_events: int = Field(4096, ge=1, description="Events a step, about.")
    learning_rate: float = Field(0.001, gt=0.0, description="Of AdamW; the highest.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="How the learning rate goes on after the warmup."
    )
    warmup_steps: int = Field(100, ge=0, description="Steps in which the rate grows from 0.")
    weight_decay: float = Field(0.01, ge=0.0, description="Of AdamW, on matrices.")
    evaluations: int = Field(
        10, ge=1, description="Validations of a fit, at even distances; the best one's state stays."
    )
    patience: int = Field(4, ge=1, description="Validations without a better one before it stops.")


#: Names of ``users.search.STRATEGIES``, or that they are tried.
StrategyName = Literal[
    "search",
    "next_event",
    "horizon",
    "next_basket",
    "next_event_gru",
    "next_event_popular_negatives",
    "next_event_gbce",
    "next_basket_gru",
    "next_event_wide",
]
