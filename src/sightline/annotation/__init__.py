"""People read replies: what they were asked, and what they said."""
