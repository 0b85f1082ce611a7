"""The Python front door: models, methods as callable objects, studies and runs. Import it as `sightline`."""
