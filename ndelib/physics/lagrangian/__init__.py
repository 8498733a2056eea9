"""Networks that learn a Lagrangian: of any form, or kinetic less potential energy with a positive mass matrix."""
