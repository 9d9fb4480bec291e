"""Settings of item features and of the vectors made of them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from itememb_core.settings.base import StageSettings


class AttributeFeaturesSettings(StageSettings):
    """Features of an item's brand and attributes: which values are columns, and how many remain."""

    dim: int = Field(70, ge=1, le=4096, description="Length of the features.")
    # Where a value lies among the others is a mean over its items. Over ten, the mean's standard
    # error is a third (1/sqrt(10)) of their spread: over fewer, most of what is learned is chance.
    min_count: int = Field(
        10, ge=1, description="Fewest items of a value that is a column; rarer ones share one."
    )
    # Absence is most of a matrix of many attributes, and says little where it is the rule.
    absences: int = Field(
        128,
        ge=0,
        le=1024,
        description="Attributes, those of most items, whose absence is a column; each takes 8 "
        "bytes an item in the fit.",
    )
    fit_rows: int = Field(
        1_000_000, ge=1, description="Most items that the fit sees, drawn of those with attributes."
    )


class CategoryEmbeddingsSettings(StageSettings):
    """The category tree in the Poincare ball."""

    dim: int = Field(15, ge=2, le=512, description="Dimensions of the ball.")


class ContentFeaturesSettings(StageSettings):
    """Features of what an item looks like and is called."""

    image_dim: int = Field(104, ge=1, le=4096, description="Length of the image block.")
    text_dim: int = Field(128, ge=1, le=4096, description="Length of the text block.")
    fit_rows: int = Field(
        100_000, ge=1, description="Most rows that each block's fit sees, drawn of those it can."
    )
    ridge: float = Field(
        0.1,
        gt=0.0,
        description="Penalty of a map from vectors of another width, as a share of their variance.",
    )
    ngram_min: int = Field(3, ge=1, le=10, description="Shortest n-gram of a title, characters.")
    ngram_max: int = Field(5, ge=1, le=10, description="Longest n-gram of a title, characters.")
    title_buckets: int = Field(
        2**18, ge=2, le=2**22, description="Buckets that a title's n-grams are hashed into."
    )
    title_chars: int = Field(
        512, ge=1, le=100_000, description="Characters after which a title is cut."
    )
    text_model: str | None = Field(
        None, description="Folder of a sentence encoder for titles; none: n-grams alone."
    )
    text_batch: int = Field(64, ge=1, description="Titles that the sentence encoder takes at once.")

    @model_validator(mode="after")
    def _ngrams_are_a_range(self) -> Self:
        if self.ngram_min > self.ngram_max:
            raise ValueError(f"ngram_min is {self.ngram_min}, ngram_max {self.ngram_max}")
        return self


class FeatureModelSettings(StageSettings):
    """From features to vectors: items without interactions, rare ones, and what is alike."""

    use: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether vectors of items without interactions, and of rare ones, are made of "
        "features; auto: where the warm items of the lake bear it out.",
    )
    likeness: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether vectors have a part for what is alike; auto: as above."
    )
    likeness_dim: int = Field(64, ge=1, le=1024, description="Length of that part.")
    likeness_share: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="Share of that part in the cosine of two items; none: the least that finds "
        "hidden features nearly as well as the best share does.",
    )
    hidden_share: float = Field(
        0.1, gt=0.0, lt=1.0, description="Warm items that judge the backtest's network."
    )
    steps: int = Field(800, ge=1, description="Steps of the network.")
    batch_size: int = Field(512, ge=2, description="Items of a step, and pairs of a step.")
    hidden: int = Field(256, ge=1, le=8192, description="Units of a hidden layer.")
    category_dim: int = Field(64, ge=1, le=1024, description="Length of a category's trained row.")
    learning_rate: float = Field(0.001, gt=0.0, description="Of AdamW.")
    weight_decay: float = Field(0.0001, ge=0.0, description="Of AdamW.")
    regression: float = Field(
        0.2, ge=0.0, description="Weight of the distance to warm vectors beside the pairs' loss."
    )
