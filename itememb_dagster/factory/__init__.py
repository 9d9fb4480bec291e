"""From a stage and a check to Dagster assets and asset checks."""
