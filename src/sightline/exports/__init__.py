"""The rates of a finished run in the formats of others. No prompt and no response is in any of them."""
