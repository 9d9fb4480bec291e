"""itememb_dagster: the wiring of itememb_core as Dagster assets, and the ``itememb`` command."""
