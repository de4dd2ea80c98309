"""The API keys, the metrics key and the secret of servers in tests."""

ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"
METRICS_KEY = "metrics-0123456789abcdef"
SECRET = "a secret of the tests, 0123456789"
