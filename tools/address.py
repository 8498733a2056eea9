"""What the site has once it has a public address: a sitemap, and for each page a card that other sites show with links.

The address is ``html: baseurl`` in ``_config.yml``. While it is empty, neither is made: both consist of addresses.
"""

import re
from typing import Any

import yaml

from tools.common import Problem

# Drawn by matplotlib while the site is built, without a network. It reads no SVG: logo.png is logo.svg as a browser
# draws it, 360 pixels wide. Fewer words than there could be, so that none leaves the card.
CARDS = {
    "image": "_static/logo.png",
    "image_mini": "_static/logo.png",
    "line_color": "#0072B2",
    "description_max_length": 140,
}


def site_address(config: dict[str, Any]) -> str:
    """Return the public address of the site, which ends with a slash; empty while it has none."""
    address = str((config.get("html") or {}).get("baseurl") or "")
    if address and not re.fullmatch(r"https://[\w.-]+(/[\w./-]*)?", address):
        raise Problem(f"_config.yml: html baseurl {address!r} is not of the form https://HOST/PATH/")
    return address.rstrip("/") + "/" if address else ""


def with_address(text: str) -> str:
    """Return the text of ``_config.yml``, with what a public address brings switched on if it names one."""
    config = yaml.safe_load(text)
    address = site_address(config)
    if not address:
        return text
    config["html"]["baseurl"] = address
    settings = config["sphinx"]["config"]
    settings["extensions"] = [*settings["extensions"], "sphinx_sitemap", "sphinxext.opengraph"]
    # One language and one version, so that the address of a page is that of its file.
    settings |= {"sitemap_url_scheme": "{link}", "sitemap_excludes": ["search.html", "genindex.html", "prf-prf.html"]}
    settings |= {"ogp_site_url": address, "ogp_site_name": config["title"], "ogp_type": "article"}
    settings["ogp_social_cards"] = CARDS
    return yaml.safe_dump(config, allow_unicode=True, sort_keys=False)
