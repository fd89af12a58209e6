"""Ablation studies from one file: which runs, made once each, compared pair by pair; `viewmill ablate`."""
