"""Attacks on pixels: a picture found by gradients."""
