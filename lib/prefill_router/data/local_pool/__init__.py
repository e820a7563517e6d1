"""How ``data/local`` is made: questions, decoding, answers and scores."""
