"""Does a notebook run on Colab, alone, and leave Colab as it was?"""
