"""Known mechanical systems, with their energies, their Lagrangians and trajectories that are exact or nearly so."""
