"""The router that is shipped, its exports and the LiteLLM strategy."""
