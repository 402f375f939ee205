"""The report of a run: one HTML file that needs nothing else, the answer first."""

from workbench.report.writing import render_report, write_report

__all__ = ["render_report", "write_report"]
