"""How the embedded pool ``data/local`` is made: questions, answer extraction, decoding and scoring."""
