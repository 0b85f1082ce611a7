"""A target as a service: an endpoint that speaks OpenAI's chat protocol, so that other tools can ask it."""
