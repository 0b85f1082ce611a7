"""Blind annotation by people: what is drawn from a run, who is asked what, and what they answered.

Files, in `RUN/annotation/`: `plan.jsonl` (what was drawn, with its chance, and each rater's order),
`questions.yaml` and `guideline.md` (what is asked and how to decide), `answers/RATER.jsonl` (one line per
event, nothing is ever overwritten), `adjudication.jsonl`, and `labels.jsonl` (labels of a closed round).
"""
