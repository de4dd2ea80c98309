"""What sound is inside the program, and what sound is taken from outside."""

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
"""float32 (channels, samples), full scale 1.0."""

BLOCK_SAMPLES = 1 << 17
SAMPLE_RATES_HZ = (8_000, 192_000)
MOST_CHANNELS = 8
