"""Installs the server and its dependencies; it needs nothing but Python."""
