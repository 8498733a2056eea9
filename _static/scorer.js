// How the search ranks what it finds: Sphinx's own weights, and four changes. Who looks for a word wants the chapter that
// teaches it before the pages that list words, and of the chapters the one that says most about it (OCCURRENCES, which
// tools/pages/search.py writes below when the site is built). A function's own entry comes first.
var OCCURRENCES = { pages: [], rarity: {}, shares: {} };
var Scorer = {
  score: ([page, , anchor, description, score]) => {
    const taught = page.startsWith("chapters/") ? score + 10 : score;
    return anchor || description ? taught : taught + 20 * Scorer.share(page);
  },
  // The part, from 0 to 1, that a page has of what one page can say about the words of the query.
  share: (page) => {
    const { pages, rarity, shares } = OCCURRENCES;
    const stemmer = new Stemmer();
    const query = new URLSearchParams(window.location.search).get("q") || "";
    const words = splitQuery(query.toLowerCase())
      .map((word) => stemmer.stemWord(word))
      .filter((word) => Object.hasOwn(rarity, word));
    const place = pages.indexOf(page);
    const said = words.reduce((sum, word) => sum + rarity[word] * (shares[word][place] || 0), 0);
    return said / Math.max(1, words.reduce((sum, word) => sum + 100 * rarity[word], 0));
  },
  objNameMatch: 31, // Sphinx: 11; more than a chapter gets that only uses the function
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 8, // Sphinx: 15; one word of the query in a heading is not the whole query
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
