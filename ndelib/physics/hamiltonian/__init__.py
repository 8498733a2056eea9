"""Networks that learn an energy, or a symplectic map, from trajectories: what they are, and how they are trained.

``states`` checks what comes in; ``energies`` are scalar functions with a fast gradient; ``networks`` are fields that
are trained on derivatives; everything else makes steps and is trained on trajectories (``steppers``).
"""
