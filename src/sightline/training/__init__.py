"""Training: carries the plans of recipes out on local models and keeps what becomes of them as targets.

`lessons` reads cases, `work` trains or finds what was trained before. Backends: `loop`, small, ours, for
every family that runs here, and `trl_backend`, TRL's trainers; `losses`, `lora`, `states` are shared.
"""
