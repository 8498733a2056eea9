"""Models of sequences that are observed at any times: neural controlled equations and recurrent networks (chapter 15)."""
