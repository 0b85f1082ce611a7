"""Models of Sightline's testbed: their weights, a folder each, and the code that trains and measures them.

`sightline.testbed.weights` finds the folders by this package's entry point. `training` builds models from
scratch, `evaluation` measures them and writes their cards; the `sightline testbed` commands call both.
"""
