"""The pages that the build writes itself, and what it adds to others and takes from them."""
