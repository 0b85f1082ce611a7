"""Items out to other tools, and answers in from them: CSV, Label Studio, Argilla, Inspect."""
