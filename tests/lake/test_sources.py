"""What a stage can reach: planted changes make exactly the stages stale that can reach them."""

import pytest

from itememb_core.settings import Settings
from itememb_dagster.assets import STAGES
from itememb_dagster.factory.stage import only_settings
from itememb_dagster.lake.sources import Reach, Sources, module_text, settings_read

STAGE = "itememb_dagster.assets.made_up"

#: A stage, a helper, two packages that pass names on, and what lies behind them.
WORLD = {
    STAGE: '''
from itememb_core import tools as core
from itememb_core.box import Box
from itememb_dagster.engine import Engine

LIMIT = 3
OTHER = 4


def helper(ctx, rows):
    """Its words do not count."""
    return core.first(rows, ctx.settings.item_model.dim)


@decorated(settings="not followed")
def made(ctx, rows: Box, other: Engine):
    from itememb_core.late import draw

    unused = rows
    return draw(helper(ctx, rows), LIMIT, ctx.settings.seed)


def second(ctx):
    return ctx.settings
''',
    "itememb_dagster.engine": "class Engine: ...",
    "itememb_core.tools": """
from itememb_core.one import first
from itememb_core.two import second
""",
    "itememb_core.one": """
import numpy as np
def first(rows, n):
    return np.add(rows, n)  # here
""",
    "itememb_core.two": "def second(rows):\n    return rows\n",
    "itememb_core.box": "from itememb_core.lid import close\nclass Box:\n    def shut(self):\n"
    "        return close(self)\n",
    "itememb_core.lid": "def close(box):\n    return box\n",
    "itememb_core.late": "def draw(*what):\n    return what\n",
}


def reach(changed: dict[str, tuple[str, str]] | None = None, name: str = "made") -> Reach:
    texts = dict(WORLD)
    for module, (old, new) in (changed or {}).items():
        assert old in texts[module]
        texts[module] = texts[module].replace(old, new)
    return Reach.of(STAGE, name, Sources(texts.get))


def test_helpers_constants_imports_in_functions_and_classes_of_inputs_are_reached():
    found = reach()
    assert {name for _, name in found.functions} == {"made", "helper", "LIMIT"}
    assert set(found.modules) == {
        f"itememb_core.{name}" for name in ("one", "box", "lid", "late")
    }  # not two: the package only passes it on


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("itememb_core.one", "np.add", "np.subtract"),
        ("itememb_core.lid", "return box", "return None"),
        ("itememb_core.late", "return what", "return what[0]"),
        (STAGE, "LIMIT = 3", "LIMIT = 30"),
        (STAGE, "core.first(rows, ctx", "core.first(None, ctx"),
        ("itememb_core.tools", "itememb_core.one import first", "itememb_core.two import first"),
    ],
)
def test_a_change_of_what_is_reached_counts(module, old, new):
    assert reach({module: (old, new)}).digest != reach().digest


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("itememb_core.one", "# here", "# there"),
        ("itememb_core.one", "def first(rows, n):", "def first(rows, n):\n    '''Words.'''"),
        ("itememb_core.two", "return rows", "return None"),
        (STAGE, "OTHER = 4", "OTHER = 5"),
        (STAGE, "Its words do", "These words do"),
        (STAGE, "not followed", "never followed"),
    ],
)
def test_comments_docstrings_decorators_and_what_is_not_reached_do_not(module, old, new):
    assert reach({module: (old, new)}).digest == reach().digest


def test_settings_are_found_by_name_through_helpers_and_only_by_name():
    sources = Sources(WORLD.get)
    assert settings_read(STAGE, "made", sources, Settings) == ["item_model.dim", "seed"]
    with pytest.raises(TypeError, match=r"second: read settings as ctx.settings.<name>"):
        settings_read(STAGE, "second", sources, Settings)


def changed_by(module: str, old: str, new: str) -> set[str]:
    """The stages that a change of the real source makes stale by themselves."""
    text = module_text(module)
    assert text is not None
    assert text.count(old) == 1
    plain = Sources()
    planted = Sources(lambda name: text.replace(old, new) if name == module else module_text(name))
    return {
        stage.name
        for stage in STAGES
        if Reach.of(stage.compute.__module__, stage.compute.__name__, planted).digest
        != Reach.of(stage.compute.__module__, stage.compute.__name__, plain).digest
    }


def test_a_line_of_the_items_loss_redoes_the_fits_alone():
    stale = changed_by(
        "itememb_core.items.training.losses",
        "def _own_cells(",
        "PLANTED = 1\n\n\ndef _own_cells(",
    )
    assert stale == {"backtest/item_model", "item_model", "item_evaluation"}


def test_a_line_of_the_sessions_redoes_what_makes_sessions():
    text = module_text("itememb_core.edges.sessions")
    first = next(line for line in text.splitlines() if line.startswith("def "))
    stale = changed_by("itememb_core.edges.sessions", first, f"PLANTED = 1\n\n\n{first}")
    assert stale == {"coview_edges", "item_evaluation"}


def test_a_column_s_meaning_redoes_nothing():
    old, new = "The receipt item to be linked.", "What is to be linked."
    assert changed_by("itememb_core.schemas.links", old, new) == set()


def test_a_stage_cannot_read_a_setting_that_its_stamp_lacks():
    by_name = {stage.name: stage for stage in STAGES}
    index = only_settings(Settings(), by_name["link_pool"])
    assert index.item_model.dim == Settings().item_model.dim
    with pytest.raises(AttributeError, match="link_pool: reads setting user_model"):
        _ = index.user_model
    with pytest.raises(AttributeError, match="link_pool: reads setting batch_size"):
        _ = index.item_model.batch_size
