"""Fully convolutional networks for semantic segmentation, on VGG16 and VGG19.

Read ``vgg``, ``head`` and ``model`` in that order; they follow Long, Shelhamer and Darrell,
"Fully Convolutional Networks for Semantic Segmentation" (CVPR 2015). ``data`` feeds them,
``training`` is a run, ``inference`` serves them, ``demo`` is the page. Importing a package imports
none of its modules, so that a program that only serves need not load the trainer's.
"""
