"""Tests of itememb."""
