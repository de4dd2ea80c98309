"""Makes the bundled separation model: renders songs, trains, evaluates and exports."""
