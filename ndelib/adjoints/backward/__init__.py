"""The backward pass of a solve: steps made again, steps undone, or an equation solved backwards (chapter 8)."""
