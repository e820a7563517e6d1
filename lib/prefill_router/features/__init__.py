"""From the states of all layers to the features of a head."""
