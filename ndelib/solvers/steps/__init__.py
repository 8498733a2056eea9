"""How one step is made: explicit, implicit, multistep, symplectic and reversible methods, and their list.

A method is data where it can be (``tableaus.py``, ``implicit_tableaus.py``); ``step.py`` says what a method is to the
loops, ``methods.py`` lists all of them. Chapters 1, 3 and 4 derive them.
"""
