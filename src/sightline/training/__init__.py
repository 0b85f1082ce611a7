"""Training: carries the plans of recipes out on local models and keeps what becomes of them as targets.

`lessons` reads cases, `work` trains or finds what was trained before, `loop` is the backend: small, ours, for
every family that runs here.
"""
