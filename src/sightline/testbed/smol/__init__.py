"""`testbed/smol`: a real small language model (SmolLM2-135M-Instruct), fetched on request, and its policy.

`fetch` gets and converts it, `policy` says what its aligned form refuses (harmless: handicrafts), `align`
trains that form, `places` finds both.
"""
