"""From rows to a model file: recipe, augmentation, network, fit, export.

The only package that imports torch. Nothing else in mien imports it except the command line,
and that only when a training verb is called.
"""
