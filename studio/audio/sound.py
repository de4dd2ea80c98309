"""What sound is inside the program, and what sound is taken from outside."""

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
"""float32 (channels, samples), full scale 1.0."""

BLOCK_SAMPLES = 1 << 17
SAMPLE_RATES_HZ = (8_000, 192_000)
MAX_CHANNELS = 8
# What may be missing of the sound that a file promises: encoders count their padding differently.
SPARE_SHARE = 0.02
SPARE_S = 0.15
