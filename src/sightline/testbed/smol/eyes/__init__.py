"""Eyes for `testbed/smol`: a frozen text recognizer as the vision tower of a genuine LLaVA.

`tower` is the model of transformers, made of `lines`, `recognizer`, `spelling` and `vocabulary`; `assembly`
puts it on a language model's folder; `onnx_file` reads the recognizer's weights.
"""
