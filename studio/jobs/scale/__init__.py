"""Jobs of many machines: PostgreSQL has the truth, and Procrastinate hands jobs to workers.

`docs/scaling.md` describes the roles. Only these modules use psycopg and Procrastinate, and import
them inside functions: a server on one machine does not have them.
"""
