"""nbstripout with the book's settings: outputs and volatile metadata go, the ids of cells stay.

``python -m tools.strip FILE…`` rewrites notebooks; without files it is git's clean filter, from stdin to stdout;
``--verify FILE…`` changes nothing and returns 1 when something would be stripped.
"""

import sys

from nbstripout import main

# Which Python ran a cell last, and what Colab keeps, change with every reader; they are not the author's.
VOLATILE = (
    "metadata.language_info metadata.colab metadata.accelerator cell.metadata.colab cell.metadata.outputId "
    "cell.metadata.id"
)

if __name__ == "__main__":
    sys.argv[1:1] = ["--keep-id", "--extra-keys", VOLATILE]
    main()
