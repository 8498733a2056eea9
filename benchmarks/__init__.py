"""Speed of ndelib beside other solvers: ``make bench``. See ``run.py`` for what is measured, and how."""
