"""Starts the programs that machines share, PostgreSQL and an object store, for `make scale-demo`
and the tests. Each runs on loopback, in a folder of its own."""
