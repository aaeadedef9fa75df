"""Whose face it is, only where that is asked for. May import numpy, and from mien: errors, types,
geometry, preprocess, inference, weights.

`embedder.py` turns a face into a descriptor, `gallery.py` reads a folder of named people,
`people.py` remembers who has been met, and `recognizer.py` says whose the faces of a frame are.
Descriptors are biometric data: they stay in memory, and no sink writes them.
"""

from mien.identity.embedder import FaceEmbedder
from mien.identity.gallery import Gallery
from mien.identity.people import SAME_PERSON, People
from mien.identity.recognizer import Recognizer, Sightings

__all__ = ["SAME_PERSON", "FaceEmbedder", "Gallery", "People", "Recognizer", "Sightings"]
