"""The API keys and the secret of servers in tests."""

ANN, BOB = "ann-0123456789abcdef", "bob-0123456789abcdef"
SECRET = "a secret of the tests, 0123456789"
