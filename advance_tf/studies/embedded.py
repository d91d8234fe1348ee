"""Pictures and sounds inside a page: data URIs."""

import base64
import io

import numpy as np
import soundfile
import tensorflow as tf

_QUALITY = 82
# The rates of MPEG audio layer III; 16 kHz is one of them.
_RATES_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def data_uri(kind: str, contents: bytes) -> str:
    """The contents of a file as an address.

    Args:
        kind: its media type, such as "image/png".
        contents: of the file.

    Returns:
        `data:<kind>;base64,…`.
    """
    return f"data:{kind};base64,{base64.b64encode(contents).decode('ascii')}"


def jpeg_uri(picture) -> str:
    """A picture as a JPEG in an address.

    Args:
        picture: uint8 [H, W, 3].

    Returns:
        A data URI.
    """
    encoded = tf.io.encode_jpeg(picture, quality=_QUALITY, optimize_size=True)
    return data_uri("image/jpeg", encoded.numpy())


def sound_uri(waveform, rate_hz: int) -> str:
    """A clip that a browser can play, in an address.

    Args:
        waveform: float [n] in [-1, 1]; what is beyond is cut.
        rate_hz: its rate.

    Returns:
        A data URI of an MP3, of a WAV at a rate that MP3 does not have.
    """
    samples = np.clip(np.asarray(waveform, np.float32), -1, 1)
    buffer = io.BytesIO()
    if rate_hz in _RATES_HZ:
        soundfile.write(buffer, samples, rate_hz, format="MP3")
        return data_uri("audio/mpeg", buffer.getvalue())
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")
    return data_uri("audio/wav", buffer.getvalue())
