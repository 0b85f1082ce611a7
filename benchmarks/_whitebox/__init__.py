"""What `whitebox.py` measures: models, plain loops, and the figures kind by kind."""
