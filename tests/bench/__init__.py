"""Measurements that are too long or too special for tests."""
