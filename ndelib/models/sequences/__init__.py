"""Models of sequences, observed at any times: neural controlled equations and recurrent networks (chapter 15)."""
