"""From a photo's pixels to a class and a confidence for each, with torch or without.

``engines`` run the network: int8 in ONNX Runtime, or torch. ``fusion`` is the head in numpy,
``decision`` brings scores to the photo's size and decides, ``gpu_decision`` does so on a GPU,
``averaging`` does it at several scales. ``amx`` suits an int8 file to the processor.
"""
