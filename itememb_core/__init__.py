"""itememb_core: pure functions from tables to tables; no Dagster, no environment, no printing."""
