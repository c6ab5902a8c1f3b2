"""Reports: HTML files that need nothing but themselves."""

from vand_robot.report.comparison import comparison_html
from vand_robot.report.evaluation import report_html, write_report
from vand_robot.report.page import Picture

__all__ = ["Picture", "comparison_html", "report_html", "write_report"]
