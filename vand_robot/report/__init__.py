"""Reports: HTML files that need nothing but themselves."""

from vand_robot.report.comparison import comparison_html
from vand_robot.report.evaluation import report_html, write_report
from vand_robot.report.page import Picture
from vand_robot.report.regret import regret_html

__all__ = ["Picture", "comparison_html", "regret_html", "report_html", "write_report"]
