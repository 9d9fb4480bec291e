"""Every setting of every stage, once: frozen, validated, with its unit in the description.

A stage takes its own settings object and nothing else; the launchpad and ``--set stage.field``
are generated from these classes.
"""

from typing import Literal

from pydantic import Field

from itememb_core.settings.base import StageSettings
from itememb_core.settings.features import (
    AttributeFeaturesSettings,
    CategoryEmbeddingsSettings,
    ContentFeaturesSettings,
    FeatureModelSettings,
)
from itememb_core.settings.sequence import SequenceSettings, StrategyName

__all__ = [
    "AttributeFeaturesSettings",
    "BridgeSettings",
    "CategoryEmbeddingsSettings",
    "ContentFeaturesSettings",
    "CopurchaseSettings",
    "CoviewSettings",
    "DomainSettings",
    "FeatureModelSettings",
    "ItemEvaluationSettings",
    "ItemIndexSettings",
    "ItemModelSettings",
    "LinkCandidatesSettings",
    "LinkHoldoutSettings",
    "LinkPoolSettings",
    "LinkScorerSettings",
    "RawSettings",
    "RecommendationsSettings",
    "SequenceSettings",
    "Settings",
    "SimilarItemsSettings",
    "StageSettings",
    "UserHistoriesSettings",
    "UserModelSettings",
]


class DomainSettings(StageSettings):
    """Which id prefix belongs to which catalog domain; anything else is a receipt item."""

    retail: str = Field("fmcg_", min_length=1, description="Prefix of retail item ids.")
    marketplace: str = Field("nfmcg_", min_length=1, description="Prefix of marketplace item ids.")
    offers: str = Field("offer_", min_length=1, description="Prefix of offer ids.")


class RawSettings(StageSettings):
    """What a raw folder may look like."""

    max_gap_days: int = Field(
        400,
        ge=1,
        le=200_000,
        description="Most days from one day of raw to the next; a day that is farther from all "
        "others is an error that names its file, and is not made.",
    )


class CopurchaseSettings(StageSettings):
    """Pairs of items in one basket (user, transaction, day)."""

    basket_cap: int = Field(50, ge=2, le=1000, description="Most distinct items of a basket kept.")


class CoviewSettings(StageSettings):
    """Pairs of items in one session of a user in a catalog channel."""

    gap_minutes: int = Field(30, ge=1, le=720, description="A longer gap starts a new session.")
    session_cap: int = Field(
        30, ge=2, le=1000, description="Most distinct items of a session kept."
    )


class BridgeSettings(StageSettings):
    """Pairs of items of one user in two channels, within a window of ``item_model``."""

    enabled: bool = Field(
        False,
        description="Whether the table is made. Nothing else is made of it, and it is made whole "
        "for each new day.",
    )
    partners: int = Field(200, ge=1, description="Best partners kept for an item.")


class LinkHoldoutSettings(StageSettings):
    """Which direct matches are held out in the backtest."""

    share: float = Field(0.5, ge=0.0, le=1.0, description="Share of direct matches held out.")


class ItemModelSettings(StageSettings):
    """Item vectors: InfoNCE over within-channel pairs and the bridge."""

    dim: int = Field(128, ge=2, le=4096, description="Length of an item vector.")
    start: Literal["spectral", "previous", "random"] = Field(
        "spectral",
        description="Where the vectors start: PPMI and a randomised SVD; the previous version (the "
        "final fit's, where there is one, else spectral); or random.",
    )
    previous_steps: int = Field(1000, ge=1, description="Steps of a warm start.")
    previous_rate: float = Field(
        0.25, gt=0.0, description="Learning rate of such a fit, as a share of the usual one."
    )
    batch_size: int = Field(4096, ge=2, description="Pairs a step.")
    negatives: int = Field(
        1024, ge=2, description="Pairs of a step whose partners are negatives of all its pairs."
    )
    uniform_negatives: int = Field(
        128, ge=0, le=65_536, description="Further negatives a step, drawn evenly from one side."
    )
    max_steps: int = Field(4000, ge=1, description="Most steps of the backtest fit.")
    bridge_share: float = Field(
        0.5, ge=0.0, le=1.0, description="Share of the steps' pairs drawn from the bridge."
    )
    bridge: bool = Field(True, description="Whether pairs across channels are used at all.")
    optimizer: Literal["adagrad", "adam"] = Field(
        "adagrad",
        description="Row-wise Adagrad; or Adam, of touched rows only as well: it holds two more "
        "float32 tables for each and wants smaller rates.",
    )
    learning_rate: float = Field(0.02, gt=0.0, description="Of the rows; the first.")
    row_type: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Type of the tables' rows in training; bfloat16 halves the tables.",
    )
    last_rate: float = Field(
        0.4, ge=0.0, le=1.0, description="Rate of the last steps, as a share of the first."
    )
    temperature: float = Field(0.1, ge=0.02, le=1.0, description="Softmax temperature of cosines.")
    learn_temperature: bool = Field(
        False, description="Whether the temperature is learned, from 0.02 to 1; it starts as set."
    )
    window_days: int = Field(
        30,
        ge=2,
        le=3650,
        description="Window of the bridge, days, in training and in bridge_edges.",
    )
    bag_cap: int = Field(
        3_000,
        ge=1,
        description="Most items of a user's window in a channel of which the spectral start makes "
        "pairs; of a bag with more, training draws pairs all the same.",
    )
    context_rate: float = Field(
        30.0, ge=0.0, description="Rate of the context table as a share of the learning rate."
    )
    context_correction: float = Field(
        1.0, ge=0.0, le=1.0, description="Power of the log-q correction of within-channel pairs."
    )
    half_life_days: float = Field(180.0, gt=0.0, description="Age at which a pair counts half.")
    validation_days: int = Field(7, ge=0, description="Last days before the cut, for stopping.")


class ItemEvaluationSettings(StageSettings):
    """What the backtest's item vectors are compared with."""

    without_bridge: bool = Field(
        False, description="Whether a fit without the bridge is made, too, only to be compared."
    )


class ItemIndexSettings(StageSettings):
    """The stored index over item vectors."""

    exact_up_to: int = Field(
        200_000, ge=0, description="Most items that are compared one by one; more: inverted lists."
    )
    recall: float = Field(
        0.99, gt=0.0, le=1.0, description="Share of the exact ten that inverted lists must find."
    )
    recall_sample: int = Field(1000, ge=1, description="Items on which recall is measured.")


class SimilarItemsSettings(StageSettings):
    """Nearest neighbours listed for people."""

    k: int = Field(20, ge=1, le=1000, description="Neighbours an item.")
    exact_up_to: int = Field(
        20_000, ge=0, description="Most items that are compared one by one; more: an index."
    )
    recall: float = Field(
        0.99, gt=0.0, le=1.0, description="Share of the exact ten that the index must find."
    )
    recall_sample: int = Field(1000, ge=1, description="Items on which recall is measured.")


class LinkPoolSettings(StageSettings):
    """How wide the pool of candidates of a receipt item is."""

    size: int = Field(20, ge=1, le=1000, description="Candidates of an opaque item by CSLS.")
    by_users: int = Field(
        40, ge=0, le=1000, description="Candidates by the users who bought both, united with them."
    )
    by_text: int = Field(
        40,
        ge=0,
        le=1000,
        description="Candidates by receipt text and title, equal ones by users, united with them.",
    )
    csls_neighbors: int = Field(10, ge=1, description="Neighbourhood of CSLS.")
    exact_up_to: int = Field(
        100_000, ge=0, description="Most items of a side compared one by one; more: an index."
    )
    recall: float = Field(
        0.99, gt=0.0, le=1.0, description="Share of the exact ten that the index must find."
    )
    recall_sample: int = Field(1000, ge=1, description="Items on which recall is measured.")
    pairs_at_once: int = Field(
        20_000_000, ge=1, description="Most pairs with a common user that a thread holds at once."
    )
    user_cap: int = Field(
        10_000,
        ge=1,
        description="Most items of a user on receipts, or in the catalog; one with more is no "
        "person's and tells little about each pair, so is not compared by.",
    )
    offers: bool = Field(False, description="Whether offers may be candidates.")
    direct_candidates: bool = Field(
        False, description="Whether catalog items that receipts name by their own id may be."
    )


class LinkScorerSettings(StageSettings):
    """Probability of a candidate and the threshold for accepting it."""

    target_precision: float = Field(
        0.95, gt=0.0, lt=1.0, description="Precision wanted over all accepted learned links."
    )
    no_match_share: float | None = Field(
        None,
        ge=0.0,
        lt=1.0,
        description="Share of opaque items without a true link; null: estimated from their scores.",
    )
    one_to_one: bool = Field(
        False,
        description="Whether a catalog item is linked to one receipt item at most.",
    )
    rounds: int = Field(80, ge=1, le=5000, description="Trees of the model.")
    folds: int = Field(5, ge=2, le=50, description="Folds of the cross-fit on held-out matches.")
    small: int = Field(
        300,
        ge=1,
        description="Fewer held-out matches: the precision's lower bound must meet the target.",
    )


class LinkCandidatesSettings(StageSettings):
    """How many scored candidates of each receipt item are kept."""

    k: int = Field(10, ge=1, le=100, description="Candidates an opaque item.")


class UserHistoriesSettings(StageSettings):
    """All events of a user in time order, laid out in shards of users."""

    shards: int = Field(
        16, ge=1, le=4096, description="Parts of the users; memory holds one part at a time."
    )


class UserModelSettings(StageSettings):
    """Two towers: a GRU over a user's events, an MLP over items, and a term for repeats."""

    dim: int = Field(64, ge=2, le=1024, description="Length of a user vector.")
    hidden: int = Field(64, ge=2, le=2048, description="Units of the GRU.")
    item_hidden: int = Field(128, ge=2, le=4096, description="Hidden units of the item tower.")
    id_dim: int = Field(16, ge=1, le=512, description="Length of an item's trained id row.")
    item_dim: int | None = Field(
        None, ge=1, description="Dimension that item vectors must have; none: whatever they have."
    )
    window: int = Field(200, ge=2, le=10_000, description="Latest events that the GRU sees.")
    stride: int = Field(
        175, ge=1, le=10_000, description="Events by which the training window slides."
    )
    loss: Literal["sampled_softmax", "pairwise_logistic"] = Field(
        "sampled_softmax", description="What a target is compared with its negatives by."
    )
    negatives: int = Field(512, ge=1, description="New items drawn for a batch, as negatives.")
    own_negatives: int = Field(
        32, ge=1, description="Items drawn from the user's own past at each position."
    )
    positions: int = Field(
        64, ge=1, description="Most events of a window that predict, drawn anew each pass."
    )
    targets: int = Field(4, ge=1, description="Most targets drawn at a position.")
    horizon_days: float = Field(
        28.0, ge=0.0, description="Targets are drawn from so many days ahead; 0: the next event."
    )
    user_power: float = Field(
        0.0, ge=0.0, le=1.0, description="0: all positions count the same; 1: all users do."
    )
    batch_size: int = Field(16, ge=1, description="Windows a step.")
    learning_rate: float = Field(0.003, gt=0.0, description="Of Adam.")
    row_learning_rate: float = Field(0.05, gt=0.0, description="Of row-wise Adagrad, id rows.")
    decay: float = Field(
        0.3, gt=0.0, le=1.0, description="Both learning rates are multiplied by it each pass."
    )
    max_epochs: int = Field(2, ge=1, description="Most passes of the backtest fit.")
    patience: int = Field(1, ge=1, description="Passes without a better one before it stops.")
    validation_share: float = Field(
        0.1, ge=0.0, lt=1.0, description="Users whose next event chooses the length of the fit."
    )
    validation_days: int = Field(
        7,
        ge=0,
        description="Last days of the backtest on which the ranking is chosen; 0, or where "
        "few users have anything in them: each user's last event.",
    )
    workers: int = Field(1, ge=0, le=32, description="Processes that prepare batches.")
    budget_minutes: float = Field(
        0.0,
        ge=0.0,
        le=100_000.0,
        description="Time for a sequence model beside the towers, its search and the backtest's "
        "fit, on two cores, by stated rates: it becomes a plan of steps, so that the clock decides "
        "nothing. 0: there is none.",
    )
    strategy: StrategyName = Field(
        "search",
        description="What the sequence model is trained on and how; search: those that the budget "
        "allows are tried on the validation slice. Its values win over those of sequence_model.",
    )


class RecommendationsSettings(StageSettings):
    """What is listed for each user."""

    k: int = Field(100, ge=1, le=1000, description="Items a user.")
    exclude_seen: bool = Field(False, description="Leave out previously interacted items.")
    cold_share: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share of a list for items that nobody has interacted with, by their features. "
        "None by default: no evaluation before they are sold can say whom they please.",
    )


class Settings(StageSettings):
    """All settings of one lake; ``--set`` takes ``seed=1`` or ``stage.field=…``."""

    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random draw.")
    holdout_days: int = Field(
        28,
        ge=0,
        le=36_500,
        description="Days at the end that the backtest does not see; 0: no temporal test.",
    )
    domains: DomainSettings = DomainSettings()
    raw: RawSettings = RawSettings()
    copurchase_edges: CopurchaseSettings = CopurchaseSettings()
    coview_edges: CoviewSettings = CoviewSettings()
    bridge_edges: BridgeSettings = BridgeSettings()
    link_holdout: LinkHoldoutSettings = LinkHoldoutSettings()
    item_model: ItemModelSettings = ItemModelSettings()
    attribute_features: AttributeFeaturesSettings = AttributeFeaturesSettings()
    category_embeddings: CategoryEmbeddingsSettings = CategoryEmbeddingsSettings()
    content_features: ContentFeaturesSettings = ContentFeaturesSettings()
    feature_model: FeatureModelSettings = FeatureModelSettings()
    item_evaluation: ItemEvaluationSettings = ItemEvaluationSettings()
    item_index: ItemIndexSettings = ItemIndexSettings()
    similar_items: SimilarItemsSettings = SimilarItemsSettings()
    link_pool: LinkPoolSettings = LinkPoolSettings()
    link_scorer: LinkScorerSettings = LinkScorerSettings()
    link_candidates: LinkCandidatesSettings = LinkCandidatesSettings()
    user_histories: UserHistoriesSettings = UserHistoriesSettings()
    user_model: UserModelSettings = UserModelSettings()
    sequence_model: SequenceSettings = SequenceSettings()
    recommendations: RecommendationsSettings = RecommendationsSettings()
