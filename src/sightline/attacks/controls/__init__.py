"""No attack, and the controls that attacks are compared with."""
