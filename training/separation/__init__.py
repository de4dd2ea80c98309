"""Songs from many sources, to train and measure the separation model."""
