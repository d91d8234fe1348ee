from . import images as images
from . import pairs as pairs
from . import sounds as sounds
from .pairs import LABEL as LABEL
from .pairs import write_pairs as write_pairs
from .pairs import write_tagged_clips as write_tagged_clips
