// How the search ranks what it finds (Sphinx's own weights, and one change): who looks for a word wants the chapter that
// teaches it before the pages that list words. A function's own entry still comes first.
var Scorer = {
  score: ([page, , , , score]) => (page.startsWith("chapters/") ? score + 10 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
