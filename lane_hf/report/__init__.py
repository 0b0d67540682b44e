"""What a training run says about the labels."""

REPORT_FILE = "_report/report.html"  # in a run's folder, where `lane report` writes it unless told otherwise
