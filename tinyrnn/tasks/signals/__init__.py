"""Sequences of numbers: sound, sensors, gestures; how they are read, and what a network sees of them."""
