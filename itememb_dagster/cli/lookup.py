"""``itememb similar``, ``links``, ``recommend`` and ``export``: what a made lake answers."""

import shutil
import stat
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itememb_core.errors import ItemembError, UsageError
from itememb_core.services import CHANNELS
from itememb_dagster.cli.options import Folder, k_option, lake_option
from itememb_dagster.cli.show import show_rows
from itememb_dagster.cli.text import plain
from itememb_dagster.lake import Lake
from itememb_dagster.lake.reader import load_arrow
from itememb_dagster.runtime.place import Place


def _lake(lake: str | None) -> Lake:
    found = Lake(Path(Place.from_env(lake=lake).lake))
    try:
        there = stat.S_ISDIR(found.root.stat().st_mode)
    except FileNotFoundError:
        there = False
    except OSError as error:
        raise ItemembError(f"lake {found.root}: cannot be read ({error.strerror})") from error
    if not there:
        raise ItemembError(f"lake {found.root}: no such folder; itememb run makes it")
    return found


@click.command()
@click.argument("item")
@lake_option
@click.option("--goes-with", is_flag=True, help="What is bought beside it, not what is like it.")
@click.option("--channel", type=click.Choice(CHANNELS), help="Only items seen there.")
@k_option
def similar(item: str, lake: str | None, goes_with: bool, channel: str | None, k: int) -> None:
    """Show the items most like ITEM (or most likely beside it)."""
    from itememb_core import lookup
    from itememb_core.items.index import ItemIndex

    where = _lake(lake)
    vocabulary = load_arrow(where, ("vocabulary",))
    key, columns = ("item_embeddings",), ["item_id", "side", "source", "embedding"]
    if goes_with:
        embeddings = load_arrow(where, key, [*columns, "context", "bias"])
        found = lookup.goes_with(embeddings, vocabulary, item, k, channel=channel)
    else:
        embeddings = load_arrow(where, key, columns)
        index = ItemIndex.load(where.version(("item_index",)))
        found = lookup.similar(embeddings, vocabulary, index, item, k, channel=channel)
    found = _with_titles(where, found)
    show_rows(found.to_pylist(), ("rank", "neighbor_id", "score", "neighbor_domain", "title"))


def _with_titles(lake: Lake, found: pa.Table, column: str = "neighbor_id") -> pa.Table:
    """Add catalog titles, or categories where there is no title."""
    catalog = load_arrow(lake, ("catalog",), ["item_id", "title", "category"])
    catalog = catalog.filter(pc.is_in(catalog["item_id"], found[column].combine_chunks()))
    names = {r["item_id"]: r["title"] or r["category"] for r in catalog.to_pylist()}
    titles = [names.get(i) for i in found[column].to_pylist()]
    return found.append_column("title", pa.array(titles, pa.string()))


@click.command()
@click.argument("item")
@lake_option
def links(item: str, lake: str | None) -> None:
    """Show the catalog candidates of a receipt ITEM (or what links to a catalog item), and why."""
    from itememb_core.links.reasons import reasons
    from itememb_core.links.scorer.model import LinkScorer
    from itememb_core.lookup import links_of

    where = _lake(lake)
    candidates = load_arrow(where, ("link_candidates",))
    accepted = load_arrow(where, ("cross_domain_links",))
    found = links_of(candidates, accepted, load_arrow(where, ("vocabulary",)), item)
    why = ["its own id" if row["method"] == "direct" else reasons(row) for row in found.to_pylist()]
    found = _with_titles(where, found, "catalog_item")
    rows = found.to_pylist()
    show_rows(rows, ("receipt_item", "catalog_item", "title", "rank", "probability", "method"))
    for row, words in zip(rows, why, strict=True):  # a column would be too narrow
        click.echo(plain(f"{row['receipt_item']} → {row['catalog_item']}: {words}"))
    scorer = LinkScorer.load(where.version(("link_scorer",)))
    if scorer.acceptance.threshold is None:
        click.echo(f"no learned link is accepted: {scorer.reason}")
    else:
        click.echo(f"accepted from {scorer.acceptance.threshold:.3f}: {scorer.rule}")


@click.command()
@click.argument("user", type=int)
@lake_option
@k_option
def recommend(user: int, lake: str | None, k: int) -> None:
    """Show what to recommend to USER, best first."""
    if not -(2**63) <= user < 2**63:
        raise UsageError(f"user {user}: expected an integer of 64 bits")
    where = _lake(lake)
    key = ("recommendations",)
    if not where.parts(key):
        raise ItemembError(f"recommendations: not in lake {where.root}; itememb run makes it")
    where.check_files(where.parts(key))
    mine = [("user_id", "=", user)]
    found = pq.read_table(where.part(key), filters=mine, partitioning=None)
    if not found.num_rows:
        raise ItemembError(f"user {user} has no recommendations in lake {where.root}")
    found = _with_titles(where, found.slice(0, k), "item_id")
    show_rows(found.to_pylist(), ("rank", "item_id", "score", "title"))


@click.command()
@click.argument("folder", type=Folder(path_type=Path, file_okay=False))
@lake_option
def export(folder: Path, lake: str | None) -> None:
    """Write single files by the notebook's names to FOLDER."""
    where = _lake(lake)
    model = where.version(("item_model",))
    files = {
        "item_embeddings.parquet": where.part(("item_embeddings",)),
        "item_vocabulary.parquet": where.part(("vocabulary",)),
        "cross_domain_links.parquet": where.part(("cross_domain_links",)),
        "training_history.png": model / "training_history.png",
        "best_model.safetensors": model / "model.safetensors",
    }
    for source in files.values():
        if not source.exists():
            raise ItemembError(f"{source}: not in lake {where.root}; itememb run makes it")
    where.check_files(source for source in files.values() if source.suffix == ".parquet")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            shutil.copyfile(source, folder / name)
            click.echo(f"wrote {folder / name}")
    except OSError as error:
        why = error.strerror or error
        raise ItemembError(f"export {folder}: cannot be written ({why})") from error
