"""Groups as the UI shows them: collapsed they make no circle, and inside one no label is twice.

Dagster labels a node with the last part of its key, whatever its group.
"""

from collections import Counter

from itememb_dagster.assets import STAGES


def group_edges() -> dict[str, set[str]]:
    """Which groups each group needs: through inputs, and through what comes after what."""
    group_of = {stage.key: stage.group for stage in STAGES}
    needs: dict[str, set[str]] = {}
    for stage in STAGES:
        keys = [spec.key for spec in stage.inputs.values()] + list(getattr(stage, "after", ()))
        needs.setdefault(stage.group, set()).update(group_of[key] for key in keys)
    return {group: found - {group} for group, found in needs.items()}


def circle(needs: dict[str, set[str]]) -> list[str]:
    """Groups that need each other in a circle; empty where there is none."""
    left = dict(needs)
    while free := [group for group, found in left.items() if not found & left.keys()]:
        for group in free:
            del left[group]
    return sorted(left)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_groups_make_no_circle():
    assert circle(group_edges()) == []


def test_labels_are_unique_within_a_group():
    labels = Counter((stage.group, stage.key[-1]) for stage in STAGES)
    assert [label for label, times in labels.items() if times > 1] == []
