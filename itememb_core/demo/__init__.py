"""Demo data: real baskets (Complete Journey) arranged as a world whose true links are known."""

from itememb_core.demo.settings import DemoSettings
from itememb_core.demo.write import DemoSummary, truth_path, write_demo

__all__ = ["DemoSettings", "DemoSummary", "truth_path", "write_demo"]
