"""Colour spaces: CIE Lab, and its quantisation for methods that classify colours."""
