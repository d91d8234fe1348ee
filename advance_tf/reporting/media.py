"""Data URIs of pictures and sounds, for pages that load no other file."""

import base64
import io

import numpy as np
import soundfile
import tensorflow as tf
from numpy.typing import ArrayLike

_JPEG_QUALITY = 82
# The sample rates of MPEG audio layer III.
_MP3_RATES_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def data_uri(kind: str, contents: bytes) -> str:
    """Encodes the contents of a file as a data URI.

    Args:
        kind: media type, such as "image/png".
        contents: bytes of the file.

    Returns:
        `data:<kind>;base64,…`.

    >>> data_uri("text/plain", b"beach")
    'data:text/plain;base64,YmVhY2g='
    """
    return f"data:{kind};base64,{base64.b64encode(contents).decode('ascii')}"


def jpeg_uri(picture: ArrayLike | tf.Tensor) -> str:
    """Encodes a picture as a JPEG file in a data URI.

    Args:
        picture: uint8 [H, W, 3].

    Returns:
        A data URI.
    """
    encoded = tf.io.encode_jpeg(picture, quality=_JPEG_QUALITY, optimize_size=True)
    return data_uri("image/jpeg", encoded.numpy())


def sound_uri(waveform: ArrayLike, rate_hz: int) -> str:
    """Encodes a clip as a sound file that a browser plays, in a data URI.

    Args:
        waveform: float [n] in [-1, 1]; values beyond are clipped.
        rate_hz: sample rate.

    Returns:
        A data URI of an MP3 file, or of a WAV file at a rate that MP3 lacks.

    >>> sound_uri(np.zeros(8), rate_hz=14_700)[:22]
    'data:audio/wav;base64,'
    """
    samples = np.clip(np.asarray(waveform, np.float32), -1, 1)
    buffer = io.BytesIO()
    if rate_hz in _MP3_RATES_HZ:
        soundfile.write(buffer, samples, rate_hz, format="MP3")
        return data_uri("audio/mpeg", buffer.getvalue())
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")
    return data_uri("audio/wav", buffer.getvalue())
