"""Extensions of Sphinx: the reference, the glossary, numbers by chapter, formulas for e-books."""
