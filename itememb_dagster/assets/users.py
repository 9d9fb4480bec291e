"""From events to user vectors and recommendations, in the backtest and for good."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from itememb_core import schemas
from itememb_core.evaluation.users import user_evaluation as evaluate_users
from itememb_core.progress import Progress
from itememb_core.users.histories import user_histories as histories_of
from itememb_core.users.items import ItemSpace, item_space
from itememb_core.users.model import StoredUserModel, UserModel
from itememb_core.users.ranking.choice import intervals
from itememb_core.users.ranking.fit import Ranking, fit_ranking
from itememb_core.users.recommendations import recommendations as recommend
from itememb_core.users.recommendations import user_embeddings as embed
from itememb_core.users.search.fit import Search, final_steps, fit_before, search_strategies
from itememb_core.users.search.halving import Trials
from itememb_core.users.search.strategies import strategy_named
from itememb_core.users.search.table import chosen, strategies_table
from itememb_core.users.sequence.fit import fit_sequence_model
from itememb_core.users.sequence.model import SequenceModel
from itememb_core.users.shards import PackedHistories, pack_histories
from itememb_core.users.training.fit import fit_user_model
from itememb_core.users.validation import Ends, ValidationSlice, validation_slice
from itememb_dagster.factory.stage import BACKTEST, Input, StageContext, TableSpec, stage

HISTORIES: Final = TableSpec(schemas.USER_HISTORIES, ("shard", "user_id", "position"))
BACKTEST_INPUTS: Final = {
    name: Input((BACKTEST, name))
    for name in (
        "user_histories",
        "vocabulary",
        "item_embeddings",
        "cross_domain_links",
        "user_model",
    )
}


@stage(
    group="tables",
    kinds=("duckdb",),
    table=HISTORIES,
    gates=(("raw_inventory",),),
)
def user_histories(
    ctx: StageContext,
    receipts: ir.Table,
    retail_events: ir.Table,
    marketplace_events: ir.Table,
    offers_events: ir.Table,
) -> ir.Table:
    """All interactions of each user in time order, all channels together."""
    events = ibis.union(receipts, retail_events, marketplace_events, offers_events)
    return histories_of(events, ctx.settings.user_histories)


@stage(
    key=(BACKTEST, "user_histories"),
    group=BACKTEST,
    kinds=("duckdb",),
    table=HISTORIES,
)
def backtest_user_histories(ctx: StageContext, user_histories: ir.Table) -> ir.Table:
    """Histories up to the cut; positions stay, since the cut takes each one's end."""
    if ctx.cut is None:
        return user_histories
    return user_histories.filter(user_histories.timestamp < ibis.timestamp(str(ctx.cut)))


@contextmanager
def packed(
    ctx: StageContext, histories: ir.Table, items: ItemSpace, ends: Ends | None = None
) -> Iterator[PackedHistories]:
    """Pack histories, a shard of users at a time, into a scratch folder of the lake."""
    shards = sorted(histories.select("shard").distinct().to_pyarrow()["shard"].to_pylist())
    tables = (histories.filter(histories.shard == shard).to_pyarrow() for shard in shards)
    with ctx.lake.scratch() as folder:
        yield pack_histories(tables, items, folder, ctx.progress, ends=ends)


def by_shard(
    ctx: StageContext,
    stored: StoredUserModel,
    histories: ir.Table,
    items: ItemSpace,
    make: Callable[[UserModel, PackedHistories, Progress], Iterator[pa.Table]],
) -> Iterator[pa.Table]:
    """Give a model's tables while its scratch folder is there; record if it learned nothing."""
    ctx.nothing = stored.reason

    def tables() -> Iterator[pa.Table]:
        with packed(ctx, histories, items) as shards:
            yield from make(stored.with_items(items), shards, ctx.progress)

    return tables()


def fit_towers(
    ctx: StageContext, shards: PackedHistories, items: ItemSpace, epochs: int | None
) -> UserModel:
    """Fit and show what the fit did."""
    from itememb_core.report.training import training_plot

    settings, seed = ctx.settings.user_model, ctx.settings.seed
    model = fit_user_model(shards, items, settings, seed=seed, epochs=epochs, progress=ctx.progress)
    ctx.metadata |= {"users": shards.users, "events": shards.events}
    ctx.metadata |= {
        "targets": len(items.targets),
        "passes": model.epochs,
        "seconds": round(model.timing.seconds, 1),
        "seconds waiting for data": round(model.timing.waited, 1),
    }
    ctx.nothing = model.reason
    ctx.plots["training history"] = training_plot(model.history)
    return model


@stage(
    group=BACKTEST,
    kinds=("pytorch",),
    table=TableSpec(schemas.TARGET_STRATEGIES),
    inputs=BACKTEST_INPUTS,
)
def target_strategies(
    ctx: StageContext,
    user_histories: ir.Table,
    vocabulary: pa.Table,
    item_embeddings: pa.Table,
    cross_domain_links: pa.Table,
) -> pa.Table:
    """What a sequence model is trained on and how: tried on the last days before the cut."""
    settings = ctx.settings.user_model, ctx.settings.sequence_model
    if not settings[0].budget_minutes:
        ctx.nothing = "user_model.budget_minutes is 0"
        return schemas.TARGET_STRATEGIES.empty_table()
    items, seed = item_space(vocabulary, item_embeddings, cross_domain_links), ctx.settings.seed
    kept = Trials(ctx.checkpoint.path, ctx.checkpoint.identity) if ctx.checkpoint else None
    with packed(ctx, user_histories, items) as shards:
        held = validation_slice(shards, settings[0].validation_days)
        found = search_strategies(
            shards, items, held, settings, seed=seed, trials=kept, progress=ctx.progress
        )
    table = strategies_table(found.plan, found.strategy, found.results, settings[1])
    show_search(ctx, found, table)
    return table


def show_search(ctx: StageContext, found: Search, table: pa.Table) -> None:
    """Show what was tried, what won, and why."""
    from itememb_core.report.strategies import strategies_plot

    ctx.metadata |= {"chosen": found.strategy.name, "because": found.strategy.why}
    ctx.metadata |= {"tried": len({each.strategy for each in found.results})}
    ctx.metadata |= {"minutes, search and fit, by stated rates": round(found.plan.seconds / 60, 2)}
    ctx.plots["strategies by steps"] = strategies_plot(table)
    if not found.plan.fit_steps:
        ctx.nothing = "user_model.budget_minutes is too small for a fit: the rest ranks alone"


def sequence_before(
    ctx: StageContext,
    shards: PackedHistories,
    items: ItemSpace,
    held: ValidationSlice,
    strategies: pa.Table,
) -> tuple[str, SequenceModel] | None:
    """The backtest's sequence model and its strategy; None where there is to be none."""
    name, steps = chosen(strategies)
    if name is None or not steps:
        return None
    settings, seed = strategy_named(name).applied(ctx.settings.sequence_model), ctx.settings.seed
    model = fit_before(
        shards, items, held, settings, steps, seed=seed, checkpoint=ctx.checkpoint,
        progress=ctx.progress,
    )  # fmt: skip
    show_sequence(ctx, model)
    return (name, model) if model.learned else None


def show_sequence(ctx: StageContext, model: SequenceModel) -> None:
    """Show what the fit of a sequence model did."""
    from itememb_core.report.training import training_plot

    ctx.metadata["steps of the sequence model"] = model.steps
    ctx.metadata["seconds of the sequence model"] = round(model.seconds, 1)
    ctx.plots["training history, sequence model"] = training_plot(model.history)


@stage(
    key=(BACKTEST, "user_model"),
    group=BACKTEST,
    kinds=("pytorch",),
    inputs=BACKTEST_INPUTS,
)
def backtest_user_model(
    ctx: StageContext,
    user_histories: ir.Table,
    vocabulary: pa.Table,
    item_embeddings: pa.Table,
    cross_domain_links: pa.Table,
    target_strategies: pa.Table,
) -> UserModel:
    """Two towers and the ranking of the backtest, chosen on the last days that it may see.

    The towers are fitted on what lies before those days; what users do in them is read by them,
    but not trained on.
    """
    items, seed = item_space(vocabulary, item_embeddings, cross_domain_links), ctx.settings.seed
    with packed(ctx, user_histories, items) as shards:
        held = validation_slice(shards, ctx.settings.user_model.validation_days)
        with packed(ctx, user_histories, items, held.ends) as before:
            model = fit_towers(ctx, before, items, None)
        sequence = sequence_before(ctx, shards, items, held, target_strategies)
        if sequence is not None:
            model = replace(model, strategy=sequence[0], sequence=sequence[1])
        ranking = fit_ranking(model.networks(shards), shards, items, held, seed, ctx.progress)
    show_ranking(ctx, ranking, held)
    return model.ranked_by(ranking)


def show_ranking(ctx: StageContext, ranking: Ranking, held: ValidationSlice) -> None:
    """Show what orders there were, how each did on the validation slice, and which ships."""
    from itememb_core.report.ranking import ranking_plot

    choice, seed = ranking.choice, ctx.settings.seed
    apart = intervals(choice, seed)
    ctx.metadata |= {
        "validation": f"{held.users:,} users, " + ("last days" if held.by_days else "last events"),
        "ranked by": choice.kind,
    }
    for each in choice.tried:
        ends = " to ".join(f"{end:+.4f}" for end in apart.get(each.kind, ()))
        shown = f"{each.value:.4f} ({ends})" if ends else f"{each.value:.4f}"
        ctx.metadata[f"validation NDCG, {each.kind}"] = shown
    if held.users:
        ctx.plots["rankings on the validation slice"] = ranking_plot(choice, apart)


@stage(
    group="evaluation",
    kinds=("pytorch",),
    table=TableSpec(schemas.EVALUATION),
    judges=True,
    inputs={**BACKTEST_INPUTS, "before": Input((BACKTEST, "user_histories")),
            "user_histories": Input(("user_histories",))},
)  # fmt: skip
def user_evaluation(
    ctx: StageContext,
    user_model: StoredUserModel,
    before: ir.Table,
    user_histories: ir.Table,
    vocabulary: pa.Table,
    item_embeddings: pa.Table,
    cross_domain_links: pa.Table,
) -> pa.Table:
    """Interactions after the cut, ranked among all targets, beside baselines."""
    items = item_space(vocabulary, item_embeddings, cross_domain_links)
    if ctx.cut is None:
        later = user_histories.limit(0)
    else:
        later = user_histories.filter(user_histories.timestamp >= ibis.timestamp(str(ctx.cut)))
    model, seed = user_model.with_items(items), ctx.settings.seed
    with packed(ctx, before, items) as shards:
        found = evaluate_users(
            model,
            shards,
            items,
            later.to_pyarrow(),
            seed=seed,
            validation_days=ctx.settings.user_model.validation_days,
            progress=ctx.progress,
        )
    ctx.metadata |= {f"{name}, chosen": text for name, text in found.chosen.items()}
    ctx.nothing = "holdout_days is 0" if ctx.cut is None else found.reason
    return found.table


@stage(
    group="users",
    kinds=("pytorch",),
    inputs={"backtest": Input((BACKTEST, "user_model"))},
    gates=(("user_evaluation",),),
)
def user_model(
    ctx: StageContext,
    user_histories: ir.Table,
    vocabulary: pa.Table,
    item_embeddings: pa.Table,
    cross_domain_links: pa.Table,
    backtest: StoredUserModel,
) -> UserModel:
    """The model that ships: as many passes as in the backtest, over everything; its ranking."""
    items = item_space(vocabulary, item_embeddings, cross_domain_links)
    epochs = backtest.epochs or ctx.settings.user_model.max_epochs
    with packed(ctx, user_histories, items) as shards:
        model = fit_towers(ctx, shards, items, epochs)
        if backtest.strategy:
            sequence = sequence_of_all(ctx, shards, items, backtest)
            model = replace(model, strategy=backtest.strategy, sequence=sequence)
    return replace(model, ranker=backtest.ranker, counts=backtest.counts)


def sequence_of_all(
    ctx: StageContext, shards: PackedHistories, items: ItemSpace, backtest: StoredUserModel
) -> SequenceModel:
    """The sequence model that ships: as many passes as in the backtest, over everything."""
    strategy = strategy_named(backtest.strategy or "")
    steps = final_steps(*backtest.sequence, shards.events)
    model = fit_sequence_model(
        shards, items, strategy.applied(ctx.settings.sequence_model), seed=ctx.settings.seed,
        steps=steps, checkpoint=ctx.checkpoint, progress=ctx.progress,
    )  # fmt: skip
    show_sequence(ctx, model)
    return model


@stage(group="users", kinds=("pytorch",), table=TableSpec(None))
def user_embeddings(
    ctx: StageContext,
    user_model: StoredUserModel,
    user_histories: ir.Table,
    vocabulary: pa.Table,
    item_embeddings: pa.Table,
    cross_domain_links: pa.Table,
) -> Iterator[pa.Table]:
    """A vector of each user after the last interaction."""
    items = item_space(vocabulary, item_embeddings, cross_domain_links)
    return by_shard(ctx, user_model, user_histories, items, embed)


@stage(
    group="users",
    kinds=("pytorch",),
    table=TableSpec(schemas.RECOMMENDATIONS),
)
def recommendations(
    ctx: StageContext,
    user_model: StoredUserModel,
    user_histories: ir.Table,
    vocabulary: pa.Table,
    item_embeddings: pa.Table,
    cross_domain_links: pa.Table,
) -> Iterator[pa.Table]:
    """The catalog items and offers of the highest score for each user."""
    items = item_space(vocabulary, item_embeddings, cross_domain_links)
    settings = ctx.settings.recommendations

    def listed(model: UserModel, shards: PackedHistories, report: Progress) -> Iterator[pa.Table]:
        return recommend(model, shards, items, settings, report)

    return by_shard(ctx, user_model, user_histories, items, listed)


STAGES = (
    user_histories,
    backtest_user_histories,
    target_strategies,
    backtest_user_model,
    user_evaluation,
    user_model,
    user_embeddings,
    recommendations,
)
