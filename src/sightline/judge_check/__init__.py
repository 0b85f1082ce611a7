"""`judge-check`: how often a judge's verdict turns when a reply speaks to it, class by class of forgery."""
