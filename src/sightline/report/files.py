"""The files that a report is made of."""

REPORT = "report.html"
SHARED = "report.redacted.html"
BRIEF = "report.txt"
