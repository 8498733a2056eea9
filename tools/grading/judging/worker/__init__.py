"""What runs beside a student's code inside the sandbox, and the protocol that both sides of its wall speak.

The sandbox shows this package and ndelib, and nothing else of the repository. So nothing here imports from ``tools``,
and there is no test, expected value or solution in it.
"""
